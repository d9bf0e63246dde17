// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// The encoding of y names a symbol; the element type is the narrowest.

#n = #lut.fixed<28, -20>
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%a: tensor<?x8xi32, #n>) {
  // expected-error@+1 {{'lut.rescale' op expected bits of y in 2..8 for i8, got 16; change the encoding}}
  %0 = "lut.rescale"(%a) : (tensor<?x8xi32, #n>) -> tensor<?x8xi8, #x>
  return
}

// -----

#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x8xi32, #n>) {
  // expected-error@+1 {{'lut.rescale' op expected bits of y in 9..16 for i16, got 8; change the encoding}}
  %0 = "lut.rescale"(%a) : (tensor<?x8xi32, #n>) -> tensor<?x8xi16, #lut.fixed<8, @q.input.exponents>>
  return
}

// -----

#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x8xi32, #n>) {
  // expected-error@+1 {{'lut.rescale' op expected exponents of y to be a symbol, one for each pair, got 3; change the encoding}}
  %0 = "lut.rescale"(%a) : (tensor<?x8xi32, #n>) -> tensor<?x8xi16, #lut.fixed<16, 3>>
  return
}

// -----

#n = #lut.fixed<28, -20>
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%a: tensor<?x7xi32, #n>) {
  // expected-error@+1 {{'lut.rescale' op expected an even number of channels K, got 7; pad the input to whole pairs}}
  %0 = "lut.rescale"(%a) : (tensor<?x7xi32, #n>) -> tensor<?x7xi16, #x>
  return
}

// -----

#n = #lut.fixed<28, -20>
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%a: tensor<?x8xi32, #n>) {
  // expected-error@+1 {{'lut.rescale' op expected y to be tensor<TxKxi8/i16, #lut.fixed<...>>, got tensor<?x8xi32, #lut.fixed<16 : i64, @q.input.exponents>>; change the type}}
  %0 = "lut.rescale"(%a) : (tensor<?x8xi32, #n>) -> tensor<?x8xi32, #x>
  return
}
