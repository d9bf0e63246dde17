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
  // expected-error@+1 {{'lut.requantize' op expected N of y = 6, got 7; change the type}}
  %0 = "lut.requantize"(%a) {weights = @q, shift = 20} : (tensor<?x6xi32>) -> tensor<?x7xi32, #y>
  return
}

// -----

#y = #lut.fixed<24, -6>
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, c_w = 16, G = 512, R = 1, S = 0, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
func.func @f(%rows: tensor<?x4x1x1x16xi32>) {
  %0 = "lut.table_lookup"(%rows) {scheme = @exact, weights = @q} : (tensor<?x4x1x1x16xi32>) -> tensor<?x4x6xi32>
  %1 = "lut.prefix_sum"(%0) : (tensor<?x4x6xi32>) -> tensor<?x6xi32>
  // expected-error@+1 {{'lut.requantize' op expected weights = @q, got @other; use one for both}}
  %2 = "lut.requantize"(%1) {weights = @other, shift = 20} : (tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return
}
