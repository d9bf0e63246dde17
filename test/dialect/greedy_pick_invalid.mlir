// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// The last token keeps its numbers; a pick has one index for each token.

#r = #lut.fixed<26, -16>
func.func @f(%a: tensor<?x8xi32, #r>) {
  // expected-error@+1 {{'lut.last_token' op expected y to be tensor<1xKxi32, #lut.fixed<...>>, of sizes >= 1, static but for tokens, got tensor<2x8xi32, #lut.fixed<26 : i64, -16 : i64>>; change the type}}
  %0 = "lut.last_token"(%a) : (tensor<?x8xi32, #r>) -> tensor<2x8xi32, #r>
  return
}

// -----

#r = #lut.fixed<26, -16>
func.func @f(%a: tensor<?x8xi32, #r>) {
  // expected-error@+1 {{'lut.last_token' op expected K of y = 8, got 6; change the type}}
  %0 = "lut.last_token"(%a) : (tensor<?x8xi32, #r>) -> tensor<1x6xi32, #r>
  return
}

// -----

#r = #lut.fixed<26, -16>
func.func @f(%a: tensor<?x8xi32, #r>) {
  // expected-error@+1 {{'lut.last_token' op expected bits of y = 26, got 24; change the type}}
  %0 = "lut.last_token"(%a) : (tensor<?x8xi32, #r>) -> tensor<1x8xi32, #lut.fixed<24, -16>>
  return
}

// -----

#r = #lut.fixed<26, -16>
func.func @f(%a: tensor<?x8xi32, #r>) {
  // expected-error@+1 {{'lut.last_token' op expected exponent of y = -16, got -6; change the type}}
  %0 = "lut.last_token"(%a) : (tensor<?x8xi32, #r>) -> tensor<1x8xi32, #lut.fixed<26, -6>>
  return
}

// -----

#r = #lut.fixed<26, -16>
func.func @f(%a: tensor<0x8xi32, #r>) {
  // expected-error@+1 {{'lut.last_token' op expected x to be tensor<TxKxi32, #lut.fixed<...>>, of sizes >= 1, static but for tokens, got tensor<0x8xi32, #lut.fixed<26 : i64, -16 : i64>>; change the type}}
  %0 = "lut.last_token"(%a) : (tensor<0x8xi32, #r>) -> tensor<1x8xi32, #r>
  return
}

// -----

#y = #lut.fixed<24, -6>
func.func @f(%a: tensor<1x6xi32, #y>) {
  // expected-error@+1 {{'lut.argmax' op expected y to have the leading dimensions of x, [1], got [2]; change the type}}
  %0 = "lut.argmax"(%a) : (tensor<1x6xi32, #y>) -> tensor<2xi32>
  return
}

// -----

#q = #lut.fixed<16, @a.query.exponents>
func.func @f(%a: tensor<1x6xi32, #q>) {
  // expected-error@+1 {{'lut.argmax' op expected one i64 exponent for x, got @a.query.exponents; change the encoding}}
  %0 = "lut.argmax"(%a) : (tensor<1x6xi32, #q>) -> tensor<1xi32>
  return
}
