// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Ranks, static sizes and element types.

#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xf64>) {
  // expected-error@+1 {{'lut.quantize' op expected x to be tensor<...xKxf32>, got tensor<?x8xf64>; change the type; `...` is one or more dimensions of tokens}}
  %0 = "lut.quantize"(%x) : (tensor<?x8xf64>) -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x?xf32>) {
  // expected-error@+1 {{'lut.quantize' op expected x to be tensor<...xKxf32>, of sizes >= 1, static but for tokens, got tensor<?x?xf32>; change the type}}
  %0 = "lut.quantize"(%x) : (tensor<?x?xf32>) -> tensor<?x8xi16, #x>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
func.func @f(%r: tensor<*xi32>) {
  // expected-error@+1 {{'lut.table_lookup' op expected rows to be tensor<...xPxBxRxc_wxi32>, got tensor<*xi32>}}
  %0 = "lut.table_lookup"(%r) {scheme = @vq, weights = @q} : (tensor<*xi32>) -> tensor<?x4x6xi32>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.centroid_search' op expected element type of indices = i8, got i16; change the type or the scheme}}
  %0 = "lut.centroid_search"(%x) {scheme = @vq, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi16>
  return
}
