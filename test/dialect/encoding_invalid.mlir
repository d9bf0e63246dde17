// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Encodings: missing, unwanted, of the wrong width or exponent.

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
func.func @f(%x: tensor<?x8xi16>) {
  // expected-error@+1 {{'lut.centroid_search' op expected x to be tensor<...xKxi16, #lut.fixed<...>>, got tensor<?x8xi16>; add an encoding #lut.fixed<bits, exponent> with i64 bits}}
  %0 = "lut.centroid_search"(%x) {scheme = @vq, codebook = @q.input.codebook} : (tensor<?x8xi16>) -> tensor<?x4x1xi8>
  return
}

// -----

#y = #lut.fixed<24, -6>
func.func @f(%t: tensor<?x4x6xi32>, %p: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.prefix_sum' op expected sum to be tensor<...xNxi32>, got tensor<?x6xi32, #lut.fixed<24 : i64, -6 : i64>>; remove the encoding}}
  %0 = "lut.prefix_sum"(%t, %p) : (tensor<?x4x6xi32>, tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<12, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.centroid_search' op expected bits of x = 16, got 12; change the type or the scheme}}
  %0 = "lut.centroid_search"(%x) {scheme = @vq, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi8>
  return
}

// -----

#x = #lut.fixed<17, @q.input.exponents>
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.quantize' op expected bits of result in 2..16 for i16, got 17; change the encoding}}
  %0 = "lut.quantize"(%x) : (tensor<?x8xf32>) -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, -3>
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.quantize' op expected exponents of result to be a symbol, one for each pair, got -3; change the encoding}}
  %0 = "lut.quantize"(%x) : (tensor<?x8xf32>) -> tensor<?x8xi16, #x>
  return
}

// -----

#y = #lut.fixed<33, -6>
func.func @f(%a: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.requantize' op expected bits of y in 2..32, got 33; change the encoding}}
  %0 = "lut.requantize"(%a) {weights = @q, shift = 20} : (tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return
}

// -----

#y = #lut.fixed<24, @e>
func.func @f(%a: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.requantize' op expected one i64 exponent for y, got @e; change the encoding}}
  %0 = "lut.requantize"(%a) {weights = @q, shift = 20} : (tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return
}

// -----

#y = #lut.fixed<24, -97>
func.func @f(%a: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.requantize' op expected exponent of y in -96..96, got -97; change the encoding}}
  %0 = "lut.requantize"(%a) {weights = @q, shift = 20} : (tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return
}
