// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Heads are equal and even; the type stays; tokens have positions.

#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x8xi32, #n>, %b: tensor<2xi32>) {
  // expected-error@+1 {{'lut.rope' op expected position to be tensor<1xi32>, of sizes >= 1, static but for tokens, got tensor<2xi32>; change the type}}
  %0 = "lut.rope"(%a, %b) {heads = 2, positions = 16, cosines = @rope.cosines, sines = @rope.sines} : (tensor<?x8xi32, #n>, tensor<2xi32>) -> tensor<?x8xi32, #n>
  return
}

// -----

#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x8xi32, #n>, %b: tensor<1xi32>) {
  // expected-error@+1 {{'lut.rope' op expected y to have the type of x, tensor<?x8xi32, #lut.fixed<28 : i64, -20 : i64>>, got tensor<?x8xi32, #lut.fixed<26 : i64, -16 : i64>>; change the type}}
  %0 = "lut.rope"(%a, %b) {heads = 2, positions = 16, cosines = @rope.cosines, sines = @rope.sines} : (tensor<?x8xi32, #n>, tensor<1xi32>) -> tensor<?x8xi32, #r>
  return
}

// -----

#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x8xi32, #n>, %b: tensor<1xi32>) {
  // expected-error@+1 {{'lut.rope' op expected heads to divide the channels of x, 8, got 3; change either}}
  %0 = "lut.rope"(%a, %b) {heads = 3, positions = 16, cosines = @rope.cosines, sines = @rope.sines} : (tensor<?x8xi32, #n>, tensor<1xi32>) -> tensor<?x8xi32, #n>
  return
}

// -----

#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x8xi32, #n>, %b: tensor<1xi32>) {
  // expected-error@+1 {{'lut.rope' op expected an even number of rotated channels in a head, got 1; change it}}
  %0 = "lut.rope"(%a, %b) {heads = 8, positions = 16, cosines = @rope.cosines, sines = @rope.sines} : (tensor<?x8xi32, #n>, tensor<1xi32>) -> tensor<?x8xi32, #n>
  return
}

// -----

#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x8xi32, #n>, %b: tensor<1xi32>) {
  // expected-error@+1 {{'lut.rope' op expected heads in 1..2147483647, got 0; change it}}
  %0 = "lut.rope"(%a, %b) {heads = 0, positions = 16, cosines = @rope.cosines, sines = @rope.sines} : (tensor<?x8xi32, #n>, tensor<1xi32>) -> tensor<?x8xi32, #n>
  return
}

// -----

#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x8xi32, #n>, %b: tensor<1xi32>) {
  // expected-error@+1 {{'lut.rope' op expected positions in 1..2147483647, got 0; change it}}
  %0 = "lut.rope"(%a, %b) {heads = 2, positions = 0, cosines = @rope.cosines, sines = @rope.sines} : (tensor<?x8xi32, #n>, tensor<1xi32>) -> tensor<?x8xi32, #n>
  return
}

// -----

#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<17x8xi32, #n>, %b: tensor<1xi32>) {
  // expected-error@+1 {{'lut.rope' op expected at most 16 tokens (positions), got 17; change the type}}
  %0 = "lut.rope"(%a, %b) {heads = 2, positions = 16, cosines = @rope.cosines, sines = @rope.sines} : (tensor<17x8xi32, #n>, tensor<1xi32>) -> tensor<17x8xi32, #n>
  return
}

// -----

#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x16xi32, #n>, %p: tensor<1xi32>) {
  // expected-error@+1 {{'lut.rope' op expected an even number of rotated channels in a head, got 3; change it}}
  %0 = "lut.rope"(%a, %p) {heads = 2, positions = 16, cosines = @rope.cosines, sines = @rope.sines, rotated = 3} : (tensor<?x16xi32, #n>, tensor<1xi32>) -> tensor<?x16xi32, #n>
  return
}

// -----

#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x12xi32, #n>) {
  // expected-error@+1 {{'lut.slice' op expected groups to divide the channels of y, 5, got 2; change either}}
  %0 = "lut.slice"(%a) {groups = 2, start = 0} : (tensor<?x12xi32, #n>) -> tensor<?x5xi32, #n>
  return
}

// -----

func.func @f(%a: tensor<?x12xi32, #lut.fixed<28, -20>>) {
  // expected-error@+1 {{'lut.slice' op expected exponent of y = -20, got -19; change the type}}
  %0 = "lut.slice"(%a) {groups = 2, start = 0} : (tensor<?x12xi32, #lut.fixed<28, -20>>) -> tensor<?x4xi32, #lut.fixed<28, -19>>
  return
}
