// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// A scheme with a field missing, of another kind or out of range.

// expected-error@+1 {{'lut.scheme' op requires attribute 'G' (an i64 integer): got none; add it}}
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()

// -----

// expected-error@+1 {{'lut.scheme' op expected kind to be one of vq, exact, got 'pq'; change it}}
"lut.scheme"() {sym_name = "vq", kind = "pq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()

// -----

// expected-error@+1 {{'lut.scheme' op expected metric to be one of chebyshev, l2, got 'l1'; change it}}
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "l1", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()

// -----

// expected-error@+1 {{'lut.scheme' op expected c_w = 2..16 for kind 'vq', got 17; change it}}
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 17, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()

// -----

// expected-error@+1 {{'lut.scheme' op expected c_a = 0 for kind 'exact', got 16; change it}}
"lut.scheme"() {sym_name = "vq", kind = "exact", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()

// -----

// expected-error@+1 {{'lut.scheme' op expected act_bits <= x_bits = 12, got 16; change it}}
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 12, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()

// -----

// expected-error@+1 {{'lut.scheme' op expected attribute 'R' to be an i64 integer, got 2 : i32; change it}}
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2 : i32, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()

// -----

// The scheme is wrong, not the op that names it.
// expected-error@+1 {{'lut.scheme' op expected S = 1..4 for kind 'vq', got 5; change it}}
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 5, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  %0 = "lut.centroid_search"(%x) {scheme = @vq, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi8>
  return
}
