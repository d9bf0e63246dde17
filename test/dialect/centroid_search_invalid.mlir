// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Indices are one a pair and stage; only kind vq is searched.

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.centroid_search' op expected P of indices = 4, got 5; change the type}}
  %0 = "lut.centroid_search"(%x) {scheme = @vq, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x5x1xi8>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.centroid_search' op expected S of indices = 1, got 2; change the type or the scheme}}
  %0 = "lut.centroid_search"(%x) {scheme = @vq, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x2xi8>
  return
}

// -----

"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, c_w = 16, G = 4, R = 2, S = 0, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.centroid_search' op expected a scheme of kind 'vq', got 'exact'; use lut.exact_row}}
  %0 = "lut.centroid_search"(%x) {scheme = @exact, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi8>
  return
}
