// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// A scheme with a field missing, unknown or out of range.

#vq = #lut.scheme<{kind = "vq", v = 2, c_a = 16, c_w = 16, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24}>
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.centroid_search' op has a wrong scheme: expected fields kind, v, c_a, c_w, G, R, S, metric, x_bits, act_bits, weight_bits, table_bits, term_bits, out_bits; missing G; change it}}
  %0 = "lut.centroid_search"(%x) {scheme = #vq, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi8>
  return
}

// -----

#vq = #lut.scheme<{kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24, zeta = 1}>
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.centroid_search' op has a wrong scheme: expected fields kind, v, c_a, c_w, G, R, S, metric, x_bits, act_bits, weight_bits, table_bits, term_bits, out_bits; got unknown zeta; change it}}
  %0 = "lut.centroid_search"(%x) {scheme = #vq, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi8>
  return
}

// -----

#vq = #lut.scheme<{kind = "pq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24}>
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.centroid_search' op has a wrong scheme: expected kind to be one of vq, exact, got 'pq'; change it}}
  %0 = "lut.centroid_search"(%x) {scheme = #vq, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi8>
  return
}

// -----

#vq = #lut.scheme<{kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "l1", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24}>
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.centroid_search' op has a wrong scheme: expected metric to be one of chebyshev, l2, got 'l1'; change it}}
  %0 = "lut.centroid_search"(%x) {scheme = #vq, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi8>
  return
}

// -----

#vq = #lut.scheme<{kind = "vq", v = 2, c_a = 16, c_w = 17, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24}>
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.centroid_search' op has a wrong scheme: expected c_w = 2..16 for kind 'vq', got 17; change it}}
  %0 = "lut.centroid_search"(%x) {scheme = #vq, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi8>
  return
}

// -----

#vq = #lut.scheme<{kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2 : i32, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24}>
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.centroid_search' op has a wrong scheme: expected R = 1..8 for kind 'vq', got None; change it}}
  %0 = "lut.centroid_search"(%x) {scheme = #vq, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi8>
  return
}
