// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Rows are one for each pair, block and weight stage, c_w long.

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
func.func @f(%i: tensor<?x4x1xi8>) {
  // expected-error@+1 {{'lut.stored_table' op expected P of rows = 4, got 3; change the type}}
  %0 = "lut.stored_table"(%i) {scheme = @vq, weights = @q} : (tensor<?x4x1xi8>) -> tensor<?x3x2x2x16xi32>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
func.func @f(%i: tensor<?x4x1xi8>) {
  // expected-error@+1 {{'lut.built_table' op expected R of rows = 2, got 1; change the type or the scheme}}
  %0 = "lut.built_table"(%i) {scheme = @vq, codebook = @q.input.codebook, weights = @q} : (tensor<?x4x1xi8>) -> tensor<?x4x2x1x16xi32>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
func.func @f(%i: tensor<?x4x1xi8>) {
  // expected-error@+1 {{'lut.built_row' op expected c_w of rows = 16, got 8; change the type or the scheme}}
  %0 = "lut.built_row"(%i) {scheme = @vq, codebook = @q.input.codebook, weights = @q} : (tensor<?x4x1xi8>) -> tensor<?x4x2x2x8xi32>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
func.func @f(%i: tensor<?x4x2xi8>) {
  // expected-error@+1 {{'lut.built_row' op expected S of indices = 1, got 2; change the type or the scheme}}
  %0 = "lut.built_row"(%i) {scheme = @vq, codebook = @q.input.codebook, weights = @q} : (tensor<?x4x2xi8>) -> tensor<?x4x2x2x16xi32>
  return
}

// -----

"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, c_w = 16, G = 4, R = 2, S = 0, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.exact_row' op expected P of rows = 4, got 5; change the type}}
  %0 = "lut.exact_row"(%x) {scheme = @exact, weights = @q} : (tensor<?x8xi16, #x>) -> tensor<?x5x2x2x16xi32>
  return
}
