// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Every op asks for it.

#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.quantize' op expected result to have the leading dimensions of x, [?], got [4]; change the type}}
  %0 = "lut.quantize"(%x) : (tensor<?x8xf32>) -> tensor<4x8xi16, #x>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
#y = #lut.fixed<24, -6>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.linear' op expected y to have the leading dimensions of x, [?], got [4]; change the type}}
  %0 = "lut.linear"(%x) {scheme = @vq, weights = @q, shift = 20, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<4x6xi32, #y>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.centroid_search' op expected indices to have the leading dimensions of x, [?], got [4]; change the type}}
  %0 = "lut.centroid_search"(%x) {scheme = @vq, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<4x4x1xi8>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
func.func @f(%i: tensor<?x4x1xi8>) {
  // expected-error@+1 {{'lut.built_row' op expected rows to have the leading dimensions of indices, [?], got [4]; change the type}}
  %0 = "lut.built_row"(%i) {scheme = @vq, codebook = @q.input.codebook, weights = @q} : (tensor<?x4x1xi8>) -> tensor<4x4x2x2x16xi32>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
func.func @f(%r: tensor<?x4x2x2x16xi32>) {
  // expected-error@+1 {{'lut.table_lookup' op expected terms to have the leading dimensions of rows, [?], got [4]; change the type}}
  %0 = "lut.table_lookup"(%r) {scheme = @vq, weights = @q} : (tensor<?x4x2x2x16xi32>) -> tensor<4x4x6xi32>
  return
}

// -----

#y = #lut.fixed<24, -6>
func.func @f(%a: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.requantize' op expected y to have the leading dimensions of acc, [?], got [4]; change the type}}
  %0 = "lut.requantize"(%a) {weights = @q, shift = 20} : (tensor<?x6xi32>) -> tensor<4x6xi32, #y>
  return
}
