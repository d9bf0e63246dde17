// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Indices for kind vq, activations for kind exact.

"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, c_w = 16, G = 4, R = 2, S = 0, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
func.func @f(%i: tensor<?x4x1xi8>) {
  // expected-error@+1 {{'lut.built_row' op expected a scheme of kind 'vq', got 'exact'; use lut.exact_row}}
  %0 = "lut.built_row"(%i) {scheme = @exact, codebook = @q.input.codebook, weights = @q} : (tensor<?x4x1xi8>) -> tensor<?x4x2x2x16xi32>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.exact_row' op expected a scheme of kind 'exact', got 'vq'; use a row source for centroid indices}}
  %0 = "lut.exact_row"(%x) {scheme = @vq, weights = @q} : (tensor<?x8xi16, #x>) -> tensor<?x4x2x2x16xi32>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
#y = #lut.fixed<24, -6>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.linear' op expected row_source to be one of stored_table, built_table, built_row for kind 'vq', got 'exact_row'; change it}}
  %0 = "lut.linear"(%x) {scheme = @vq, weights = @q, shift = 20, row_source = "exact_row", codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x6xi32, #y>
  return
}
