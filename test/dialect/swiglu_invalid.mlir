// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// The gate is brought to 12 fraction bits, and gate * up fits 62 bits.

#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%a: tensor<?x8xi32, #r>, %b: tensor<?x6xi32, #n>) {
  // expected-error@+1 {{'lut.swiglu' op expected K of up = 8, got 6; change the type}}
  %0 = "lut.swiglu"(%a, %b) : (tensor<?x8xi32, #r>, tensor<?x6xi32, #n>) -> tensor<?x8xi16, #x>
  return
}

// -----

#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%a: tensor<?x8xi32, #r>, %b: tensor<?x8xi32, #n>) {
  // expected-error@+1 {{'lut.swiglu' op expected K of y = 8, got 6; change the type}}
  %0 = "lut.swiglu"(%a, %b) : (tensor<?x8xi32, #r>, tensor<?x8xi32, #n>) -> tensor<?x6xi16, #x>
  return
}

// -----

#n = #lut.fixed<28, -20>
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%a: tensor<?x8xi32, #lut.fixed<24, 27>>, %b: tensor<?x8xi32, #n>) {
  // expected-error@+1 {{'lut.swiglu' op expected a shift in -62..38 from gate to the sigmoid, got 39; choose exponents that lie closer together}}
  %0 = "lut.swiglu"(%a, %b) : (tensor<?x8xi32, #lut.fixed<24, 27>>, tensor<?x8xi32, #n>) -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%a: tensor<?x8xi32, #lut.fixed<32, 0>>, %b: tensor<?x8xi32, #lut.fixed<31, 0>>) {
  // expected-error@+1 {{'lut.swiglu' op expected gate and up of at most 62 bits together, got 63; give them fewer bits}}
  %0 = "lut.swiglu"(%a, %b) : (tensor<?x8xi32, #lut.fixed<32, 0>>, tensor<?x8xi32, #lut.fixed<31, 0>>) -> tensor<?x8xi16, #x>
  return
}

// -----

#r = #lut.fixed<26, -16>
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%a: tensor<?x8xi32, #r>) {
  // expected-error@+1 {{'lut.swiglu' op expected activation to be one of silu, gelu, gelu_tanh, relu, got 'tanh'; change it}}
  %0 = "lut.swiglu"(%a) {activation = "tanh"} : (tensor<?x8xi32, #r>) -> tensor<?x8xi16, #x>
  return
}

// -----

func.func @f(%a: tensor<?x8xi32, #lut.fixed<26, -16>>) {
  // expected-error@+1 {{'lut.tanh' op expected multiplier in 1..2147483647, got 0; change it}}
  %0 = "lut.tanh"(%a) {multiplier = 0, shift = 4} : (tensor<?x8xi32, #lut.fixed<26, -16>>) -> tensor<?x8xi32, #lut.fixed<26, -20>>
  return
}
