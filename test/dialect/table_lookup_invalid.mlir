// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Blocks cover the outputs; rows fit the scheme.

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
func.func @f(%r: tensor<?x4x2x2x16xi32>) {
  // expected-error@+1 {{'lut.table_lookup' op expected B of rows for N = 9 outputs in blocks of G = 4 = 3, got 2; change the type or the scheme}}
  %0 = "lut.table_lookup"(%r) {scheme = @vq, weights = @q} : (tensor<?x4x2x2x16xi32>) -> tensor<?x4x9xi32>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
func.func @f(%r: tensor<?x4x2x2x16xi32>) {
  // expected-error@+1 {{'lut.table_lookup' op expected P of terms = 4, got 5; change the type}}
  %0 = "lut.table_lookup"(%r) {scheme = @vq, weights = @q} : (tensor<?x4x2x2x16xi32>) -> tensor<?x5x6xi32>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
func.func @f(%r: tensor<?x4x2x3x16xi32>) {
  // expected-error@+1 {{'lut.table_lookup' op expected R of rows = 2, got 3; change the type or the scheme}}
  %0 = "lut.table_lookup"(%r) {scheme = @vq, weights = @q} : (tensor<?x4x2x3x16xi32>) -> tensor<?x4x6xi32>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
func.func @f(%r: tensor<?x4x2x2x15xi32>) {
  // expected-error@+1 {{'lut.table_lookup' op expected c_w of rows = 16, got 15; change the type or the scheme}}
  %0 = "lut.table_lookup"(%r) {scheme = @vq, weights = @q} : (tensor<?x4x2x2x15xi32>) -> tensor<?x4x6xi32>
  return
}
