// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Channels come in pairs.

#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x7xf32>) {
  // expected-error@+1 {{'lut.quantize' op expected an even number of channels K, got 7; pad the input to whole pairs}}
  %0 = "lut.quantize"(%x) : (tensor<?x7xf32>) -> tensor<?x7xi16, #x>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
#y = #lut.fixed<24, -6>
func.func @f(%x: tensor<?x7xi16, #x>) {
  // expected-error@+1 {{'lut.linear' op expected an even number of channels K, got 7; pad the input to whole pairs}}
  %0 = "lut.linear"(%x) {scheme = @vq, weights = @q, shift = 20, codebook = @q.input.codebook} : (tensor<?x7xi16, #x>) -> tensor<?x6xi32, #y>
  return
}
