// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Parameters have the shapes the types say, in any float type; names are of one op each.

func.func @f(%a: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_linear' op expected a ml_program.global @q.weight for 'weight', got none; declare it with #ml_program.extern : tensor<6x8xf32/bf16/f16>}}
  %0 = "lut.float_linear"(%a) {name = "q", weight = @q.weight} : (tensor<?x8xf32>) -> tensor<?x6xf32>
  return
}

// -----

ml_program.global private @q.weight(#ml_program.extern : tensor<8x6xf32>) : tensor<8x6xf32>
func.func @f(%a: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_linear' op expected @q.weight for 'weight' to be tensor<6x8xf32/bf16/f16>, got tensor<8x6xf32>; change the global, the scheme or the type of the op}}
  %0 = "lut.float_linear"(%a) {name = "q", weight = @q.weight} : (tensor<?x8xf32>) -> tensor<?x6xf32>
  return
}

// -----

ml_program.global private @q.weight(#ml_program.extern : tensor<6x8xf32>) : tensor<6x8xf32>
ml_program.global private @q.bias(#ml_program.extern : tensor<8xf32>) : tensor<8xf32>
func.func @f(%a: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_linear' op expected @q.bias for 'bias' to be tensor<6xf32/bf16/f16>, got tensor<8xf32>; change the global, the scheme or the type of the op}}
  %0 = "lut.float_linear"(%a) {name = "q", weight = @q.weight, bias = @q.bias} : (tensor<?x8xf32>) -> tensor<?x6xf32>
  return
}

// -----

ml_program.global private @q.weight(#ml_program.extern : tensor<6x8xf32>) : tensor<6x8xf32>
func.func @f(%a: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_linear' op expected attribute 'bias' to be a symbol @name, got 3 : i64; change it}}
  %0 = "lut.float_linear"(%a) {name = "q", weight = @q.weight, bias = 3} : (tensor<?x8xf32>) -> tensor<?x6xf32>
  return
}

// -----

ml_program.global private @e.weight(#ml_program.extern : tensor<12x6xf32>) : tensor<12x6xf32>
func.func @f(%a: tensor<?xi32>) {
  // expected-error@+1 {{'lut.float_embedding' op expected @e.weight for 'weight' to be tensor<?x8xf32/bf16/f16>, got tensor<12x6xf32>; change the global, the scheme or the type of the op}}
  %0 = "lut.float_embedding"(%a) {name = "e", weight = @e.weight} : (tensor<?xi32>) -> tensor<?x8xf32>
  return
}

// -----

ml_program.global private @e.weight(#ml_program.extern : tensor<12x8xi8>) : tensor<12x8xi8>
func.func @f(%a: tensor<?xi32>) {
  // expected-error@+1 {{'lut.float_embedding' op expected @e.weight for 'weight' to be tensor<?x8xf32/bf16/f16>, got tensor<12x8xi8>; change the global, the scheme or the type of the op}}
  %0 = "lut.float_embedding"(%a) {name = "e", weight = @e.weight} : (tensor<?xi32>) -> tensor<?x8xf32>
  return
}

// -----

ml_program.global private @n.weight(#ml_program.extern : tensor<8xf32>) : tensor<8xf32>
func.func @f(%a: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_norm' op expected @n.weight for 'gain' to be tensor<4xf32/bf16/f16>, got tensor<8xf32>; change the global, the scheme or the type of the op}}
  %0 = "lut.float_norm"(%a) {name = "n", gain = @n.weight, kind = "rms", epsilon = 1.0e-5, groups = 2} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

ml_program.global private @w(#ml_program.extern : tensor<4xf32>) : tensor<4xf32>
func.func @f(%a: tensor<?x8xf32>, %p: tensor<1xi32>) {
  // expected-error@+1 {{'lut.float_rope' op expected @w for 'frequencies' to be tensor<2xf32/bf16/f16>, got tensor<4xf32>; change the global, the scheme or the type of the op}}
  %0 = "lut.float_rope"(%a, %p) {name = "r", frequencies = @w, heads = 2, scale = 1.0} : (tensor<?x8xf32>, tensor<1xi32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @g(%a: tensor<?x8xf32>) {
  %0 = "lut.float_add"(%a, %a) {name = "r"} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}
func.func @f(%a: tensor<?x8xf32>) {
  %0 = "lut.float_add"(%a, %a) {name = "r"} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  // expected-error@+1 {{'lut.float_add' op expected a name that no other op of the function has, got 'r' again; add #1 to it}}
  %1 = "lut.float_add"(%a, %0) {name = "r"} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}
