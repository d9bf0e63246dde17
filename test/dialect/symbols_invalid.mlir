// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Every symbol is an external global of the type its op needs.

#y = #lut.fixed<24, -6>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<6xi32>) : tensor<6xi32>
func.func @f(%a: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.requantize' op expected a ml_program.global @q.bias for 'bias', got none; declare it with #ml_program.extern : tensor<6xi32>}}
  %0 = "lut.requantize"(%a) {weights = @q, shift = 20} : (tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return
}

// -----

#y = #lut.fixed<24, -6>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<6xi32>) : tensor<6xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<7xi32>) : tensor<7xi32>
func.func @f(%a: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.requantize' op expected @q.bias for 'bias' to be tensor<6xi32>, got tensor<7xi32>; change the global, the scheme or the type of the op}}
  %0 = "lut.requantize"(%a) {weights = @q, shift = 20} : (tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return
}

// -----

#y = #lut.fixed<24, -6>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<6xi32>) : tensor<6xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<6xi16>) : tensor<6xi16>
func.func @f(%a: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.requantize' op expected @q.bias for 'bias' to be tensor<6xi32>, got tensor<6xi16>; change the global, the scheme or the type of the op}}
  %0 = "lut.requantize"(%a) {weights = @q, shift = 20} : (tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return
}

// -----

#y = #lut.fixed<24, -6>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<6xi32>) : tensor<6xi32>
func.func private @q.bias()
func.func @f(%a: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.requantize' op expected a ml_program.global @q.bias for 'bias', got a 'func.func'; declare it with #ml_program.extern : tensor<6xi32>}}
  %0 = "lut.requantize"(%a) {weights = @q, shift = 20} : (tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return
}

// -----

#y = #lut.fixed<24, -6>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<6xi32>) : tensor<6xi32>
ml_program.global private @q.bias(dense<0> : tensor<6xi32>) : tensor<6xi32>
func.func @f(%a: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.requantize' op expected @q.bias for 'bias' to be external, got a value in the IR; declare it with #ml_program.extern : tensor<6xi32>}}
  %0 = "lut.requantize"(%a) {weights = @q, shift = 20} : (tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return
}
