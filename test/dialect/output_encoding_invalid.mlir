// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Outputs have one exponent that a float can show.

#y = #lut.fixed<24, @e>
func.func @f(%y: tensor<?x6xi32, #y>) {
  // expected-error@+1 {{'lut.dequantize' op expected one i64 exponent for y, got @e; change the encoding}}
  %0 = "lut.dequantize"(%y) : (tensor<?x6xi32, #y>) -> tensor<?x6xf32>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
#y = #lut.fixed<24, @e>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.linear' op expected one i64 exponent for y, got @e; change the encoding}}
  %0 = "lut.linear"(%x) {scheme = @vq, weights = @q, shift = 20, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x6xi32, #y>
  return
}
