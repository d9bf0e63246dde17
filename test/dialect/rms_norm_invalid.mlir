// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Squares must add up in 62 bits; groups are equal.

#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x8xi32, #r>) {
  // expected-error@+1 {{'lut.rms_norm' op expected K of y = 8, got 6; change the type}}
  %0 = "lut.rms_norm"(%a) {gain = @n.gain, groups = 1, epsilon = 40, shift = 12} : (tensor<?x8xi32, #r>) -> tensor<?x6xi32, #n>
  return
}

// -----

#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x8xi32, #r>) {
  // expected-error@+1 {{'lut.rms_norm' op expected groups to divide the channels of x, 8, got 3; change either}}
  %0 = "lut.rms_norm"(%a) {gain = @n.gain, groups = 3, epsilon = 40, shift = 12} : (tensor<?x8xi32, #r>) -> tensor<?x8xi32, #n>
  return
}

// -----

#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x8xi32, #r>) {
  // expected-error@+1 {{'lut.rms_norm' op expected groups in 1..2147483647, got 0; change it}}
  %0 = "lut.rms_norm"(%a) {gain = @n.gain, groups = 0, epsilon = 40, shift = 12} : (tensor<?x8xi32, #r>) -> tensor<?x8xi32, #n>
  return
}

// -----

#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x8xi32, #r>) {
  // expected-error@+1 {{'lut.rms_norm' op expected epsilon in 0..4611686018427387903, got -1; change it}}
  %0 = "lut.rms_norm"(%a) {gain = @n.gain, groups = 1, epsilon = -1, shift = 12} : (tensor<?x8xi32, #r>) -> tensor<?x8xi32, #n>
  return
}

// -----

#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x8xi32, #r>) {
  // expected-error@+1 {{'lut.rms_norm' op expected shift in 0..47, got 48; change it}}
  %0 = "lut.rms_norm"(%a) {gain = @n.gain, groups = 1, epsilon = 40, shift = 48} : (tensor<?x8xi32, #r>) -> tensor<?x8xi32, #n>
  return
}

// -----

#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x8xi32, #lut.fixed<31, 0>>) {
  // expected-error@+1 {{'lut.rms_norm' op expected a sum of 8 squares of x to fit 62 bits, got 63; give x fewer bits}}
  %0 = "lut.rms_norm"(%a) {gain = @n.gain, groups = 1, epsilon = 40, shift = 12} : (tensor<?x8xi32, #lut.fixed<31, 0>>) -> tensor<?x8xi32, #n>
  return
}

// -----

#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x8xi32>) {
  // expected-error@+1 {{'lut.rms_norm' op expected x to be tensor<TxKxi32, #lut.fixed<...>>, got tensor<?x8xi32>; add an encoding #lut.fixed<bits, exponent> with i64 bits}}
  %0 = "lut.rms_norm"(%a) {gain = @n.gain, groups = 1, epsilon = 40, shift = 12} : (tensor<?x8xi32>) -> tensor<?x8xi32, #n>
  return
}
