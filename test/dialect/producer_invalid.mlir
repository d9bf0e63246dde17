// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// An op and the maker of its operand agree on the scheme, the codebook and the weights.

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  %1 = "lut.centroid_search"(%x) {scheme = @vq, codebook = @k.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi8>
  // expected-error@+1 {{'lut.built_row' op expected the codebook of the 'lut.centroid_search' that makes its operand, @k.codebook, got @q.input.codebook; use one for both}}
  %0 = "lut.built_row"(%1) {scheme = @vq, codebook = @q.input.codebook, weights = @q} : (tensor<?x4x1xi8>) -> tensor<?x4x2x2x16xi32>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
"lut.scheme"() {sym_name = "other", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "l2", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  %1 = "lut.centroid_search"(%x) {scheme = @vq, codebook = @k.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi8>
  // expected-error@+1 {{'lut.stored_table' op expected the scheme of the 'lut.centroid_search' that makes its operand, @vq, got @other; use one for both}}
  %0 = "lut.stored_table"(%1) {scheme = @other, weights = @q} : (tensor<?x4x1xi8>) -> tensor<?x4x2x2x16xi32>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, c_w = 16, G = 4, R = 2, S = 0, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  %1 = "lut.exact_row"(%x) {scheme = @exact, weights = @q} : (tensor<?x8xi16, #x>) -> tensor<?x4x2x2x16xi32>
  // expected-error@+1 {{'lut.table_lookup' op expected the scheme of the 'lut.exact_row' that makes its operand, @exact, got @vq; use one for both}}
  %0 = "lut.table_lookup"(%1) {scheme = @vq, weights = @q} : (tensor<?x4x2x2x16xi32>) -> tensor<?x4x6xi32>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
func.func @f(%i: tensor<?x4x1xi8>) {
  %1 = "lut.stored_table"(%i) {scheme = @vq, weights = @k} : (tensor<?x4x1xi8>) -> tensor<?x4x2x2x16xi32>
  // expected-error@+1 {{'lut.table_lookup' op expected the weights of the 'lut.stored_table' that makes its operand, @k, got @q; use one for both}}
  %0 = "lut.table_lookup"(%1) {scheme = @vq, weights = @q} : (tensor<?x4x2x2x16xi32>) -> tensor<?x4x6xi32>
  return
}
