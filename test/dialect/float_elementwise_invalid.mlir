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
  // expected-error@+1 {{'lut.float_gated' op expected activation to be one of silu, got 'gelu'; change it}}
  %0 = "lut.float_gated"(%a, %a) {name = "g", activation = "gelu"} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>, %b: tensor<?x6xf32>) {
  // expected-error@+1 {{'lut.float_gated' op expected K of up = 8, got 6; change the type}}
  %0 = "lut.float_gated"(%a, %b) {name = "g", activation = "silu"} : (tensor<?x8xf32>, tensor<?x6xf32>) -> tensor<?x8xf32>
  return
}
