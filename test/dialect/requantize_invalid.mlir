// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// The shift is one the hardware has; outputs are kept.

#y = #lut.fixed<24, -6>
func.func @f(%a: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.requantize' op expected shift in 0..47, got 48; change it}}
  %0 = "lut.requantize"(%a) {weights = @q, shift = 48} : (tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return
}

// -----

#y = #lut.fixed<24, -6>
func.func @f(%a: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.requantize' op expected shift in 0..47, got -1; change it}}
  %0 = "lut.requantize"(%a) {weights = @q, shift = -1} : (tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return
}

// -----

#y = #lut.fixed<24, -6>
func.func @f(%a: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.requantize' op expected N of y = 6, got 7; change the type or the scheme}}
  %0 = "lut.requantize"(%a) {weights = @q, shift = 20} : (tensor<?x6xi32>) -> tensor<?x7xi32, #y>
  return
}
