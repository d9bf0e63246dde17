// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Every required attribute is asked for by name and kind.

#y = #lut.fixed<24, -6>
func.func @f(%a: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.requantize' op requires attribute 'weights' (a symbol @name): got none; add it}}
  %0 = "lut.requantize"(%a) {shift = 20} : (tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.centroid_search' op requires attribute 'scheme' (a symbol @name): got none; add it}}
  %0 = "lut.centroid_search"(%x) {codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi8>
  return
}

// -----

#y = #lut.fixed<24, -6>
func.func @f(%a: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.requantize' op requires attribute 'shift' (an i64 integer): got none; add it}}
  %0 = "lut.requantize"(%a) {weights = @q} : (tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return
}

// -----

// expected-error@+1 {{'lut.region' op requires attribute 'kind' (a string): got none; add it}}
"lut.region"() {sym_name = "q.x", address = 0, bytes = 64, port = 0, source = "q"} : () -> ()
