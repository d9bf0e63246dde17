// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Both terms are as large as the sum and lie near it in scale.

#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x8xi32, #r>, %b: tensor<?x6xi32, #n>) {
  // expected-error@+1 {{'lut.add' op expected K of b = 8, got 6; change the type}}
  %0 = "lut.add"(%a, %b) : (tensor<?x8xi32, #r>, tensor<?x6xi32, #n>) -> tensor<?x8xi32, #r>
  return
}

// -----

#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<3x8xi32, #r>, %b: tensor<?x8xi32, #n>) {
  // expected-error@+1 {{'lut.add' op expected b to have the leading dimensions of a, [3], got [?]; change the type}}
  %0 = "lut.add"(%a, %b) : (tensor<3x8xi32, #r>, tensor<?x8xi32, #n>) -> tensor<?x8xi32, #r>
  return
}

// -----

#r = #lut.fixed<26, -16>
func.func @f(%a: tensor<?x8xi32, #r>, %b: tensor<?x8xi32, #lut.fixed<26, 21>>) {
  // expected-error@+1 {{'lut.add' op expected a shift in -62..36 from b to y, got 37; choose exponents that lie closer together}}
  %0 = "lut.add"(%a, %b) : (tensor<?x8xi32, #r>, tensor<?x8xi32, #lut.fixed<26, 21>>) -> tensor<?x8xi32, #r>
  return
}

// -----

#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x8xi32, #lut.fixed<26, -79>>, %b: tensor<?x8xi32, #n>) {
  // expected-error@+1 {{'lut.add' op expected a shift in -62..36 from a to y, got -63; choose exponents that lie closer together}}
  %0 = "lut.add"(%a, %b) : (tensor<?x8xi32, #lut.fixed<26, -79>>, tensor<?x8xi32, #n>) -> tensor<?x8xi32, #r>
  return
}

// -----

#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>
func.func @f(%a: tensor<?x8xi32, #r>, %b: tensor<?x8xi32, #n>) {
  // expected-error@+1 {{'lut.add' op expected bits of y in 2..32, got 33; change the encoding}}
  %0 = "lut.add"(%a, %b) : (tensor<?x8xi32, #r>, tensor<?x8xi32, #n>) -> tensor<?x8xi32, #lut.fixed<33, 0>>
  return
}
