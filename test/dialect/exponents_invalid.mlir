// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// The exponents an encoding names are a global too, one a pair.

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
ml_program.global private @q.input.codebook(#ml_program.extern : tensor<4x1x16x2xi16>) : tensor<4x1x16x2xi16>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.centroid_search' op expected a ml_program.global @q.input.exponents for 'x.exponents', got none; declare it with #ml_program.extern : tensor<4xi8>}}
  %0 = "lut.centroid_search"(%x) {scheme = @vq, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi8>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
ml_program.global private @q.input.codebook(#ml_program.extern : tensor<4x1x16x2xi16>) : tensor<4x1x16x2xi16>
ml_program.global private @q.input.exponents(#ml_program.extern : tensor<8xi8>) : tensor<8xi8>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.centroid_search' op expected @q.input.exponents for 'x.exponents' to be tensor<4xi8>, got tensor<8xi8>; change the global, the scheme or the type of the op}}
  %0 = "lut.centroid_search"(%x) {scheme = @vq, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi8>
  return
}
