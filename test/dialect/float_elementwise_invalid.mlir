// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// What is added or multiplied has one shape; the activation is a known one.

func.func @f(%a: tensor<?x8xf32>, %b: tensor<?x6xf32>) {
  // expected-error@+1 {{'lut.float_add' op expected K of b = 8, got 6; change the type}}
  %0 = "lut.float_add"(%a, %b) {name = "r"} : (tensor<?x8xf32>, tensor<?x6xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>, %b: tensor<3x8xf32>) {
  // expected-error@+1 {{'lut.float_add' op expected b to have the leading dimensions of a, [?], got [3]; change the type}}
  %0 = "lut.float_add"(%a, %b) {name = "r"} : (tensor<?x8xf32>, tensor<3x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_gated' op expected activation to be one of silu, gelu, gelu_tanh, relu, got 'tanh'; change it}}
  %0 = "lut.float_gated"(%a, %a) {name = "g", activation = "tanh"} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>, %b: tensor<?x6xf32>) {
  // expected-error@+1 {{'lut.float_gated' op expected K of up = 8, got 6; change the type}}
  %0 = "lut.float_gated"(%a, %b) {name = "g", activation = "silu"} : (tensor<?x8xf32>, tensor<?x6xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_linear' op expected scale > 0, got -2.0; change it}}
  %0 = "lut.float_linear"(%a) {name = "q", weight = @q.weight, scale = -2.0} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%ids: tensor<?xi32>) {
  // expected-error@+1 {{'lut.float_embedding' op expected scale > 0, got 0.0; change it}}
  %0 = "lut.float_embedding"(%ids) {name = "e", weight = @e.weight, scale = 0.0} : (tensor<?xi32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%ids: tensor<?xi32>) {
  // expected-error@+1 {{'lut.float_embedding' op expected a position with an offset, got an offset alone}}
  %0 = "lut.float_embedding"(%ids) {name = "e", weight = @e.weight, offset = 0} : (tensor<?xi32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x12xf32>) {
  // expected-error@+1 {{'lut.float_slice' op expected channels within a group of 6, got 5..6; change it}}
  %0 = "lut.float_slice"(%a) {name = "s", groups = 2, start = 5} : (tensor<?x12xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>, %p: tensor<1xi32>) {
  // expected-error@+1 {{'lut.float_rope' op expected rotated in 2..3, got 4; change it}}
  %0 = "lut.float_rope"(%a, %p) {name = "r", frequencies = @f, heads = 2, scale = 1.0, rotated = 4} : (tensor<?x8xf32>, tensor<1xi32>) -> tensor<?x8xf32>
  return
}
