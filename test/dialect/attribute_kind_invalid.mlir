// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// An attribute of another kind.

#y = #lut.fixed<24, -6>
func.func @f(%a: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.requantize' op expected attribute 'weights' to be a symbol @name, got 3 : i64; change it}}
  %0 = "lut.requantize"(%a) {weights = 3, shift = 20} : (tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return
}

// -----

#y = #lut.fixed<24, -6>
func.func @f(%a: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.requantize' op expected attribute 'weights' to be a symbol @name, got @a::@b; change it}}
  %0 = "lut.requantize"(%a) {weights = @a::@b, shift = 20} : (tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.centroid_search' op expected attribute 'scheme' to be a symbol @name, got "vq"; change it}}
  %0 = "lut.centroid_search"(%x) {scheme = "vq", codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi8>
  return
}

// -----

#y = #lut.fixed<24, -6>
func.func @f(%a: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.requantize' op expected attribute 'shift' to be an i64 integer, got 20 : i32; change it}}
  %0 = "lut.requantize"(%a) {weights = @q, shift = 20 : i32} : (tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
#y = #lut.fixed<24, -6>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.linear' op expected attribute 'row_source' to be a string, got @built_row; change it}}
  %0 = "lut.linear"(%x) {scheme = @vq, weights = @q, shift = 20, row_source = @built_row, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x6xi32, #y>
  return
}
