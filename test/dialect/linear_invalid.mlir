// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// What a linear names depends on its kind and row source.

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
#y = #lut.fixed<24, -6>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.linear' op expected attribute 'codebook' (a symbol @name) for kind 'vq', got none; add it}}
  %0 = "lut.linear"(%x) {scheme = @vq, weights = @q, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x6xi32, #y>
  return
}

// -----

"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, c_w = 16, G = 4, R = 2, S = 0, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
#y = #lut.fixed<24, -6>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.linear' op expected no attribute 'codebook' for kind 'exact', got @q.input.codebook; remove it}}
  %0 = "lut.linear"(%x) {scheme = @exact, weights = @q, shift = 20, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x6xi32, #y>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
#y = #lut.fixed<24, -6>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.linear' op expected attribute 'tables' for row_source 'stored_table', got none; add it}}
  %0 = "lut.linear"(%x) {scheme = @vq, weights = @q, shift = 20, row_source = "stored_table", codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x6xi32, #y>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
#y = #lut.fixed<20, -6>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.linear' op expected bits of y = 24, got 20; change the type or the scheme}}
  %0 = "lut.linear"(%x) {scheme = @vq, weights = @q, shift = 20, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x6xi32, #y>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
#y = #lut.fixed<24, -6>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.linear' op expected shift in 0..47, got 48; change it}}
  %0 = "lut.linear"(%x) {scheme = @vq, weights = @q, shift = 48, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x6xi32, #y>
  return
}
