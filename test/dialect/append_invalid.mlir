// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// New rows are as those of the cache, whose type stays.

#k = #lut.fixed<8, @a.key.exponents>
func.func @f(%a: tensor<?x4xi8, #k>, %b: tensor<?x4xi8, #k>, %c: tensor<1xi32>) {
  // expected-error@+1 {{'lut.append' op expected cache to be tensor<MxKxi8/i16, #lut.fixed<...>>, of sizes >= 1, static but for tokens, got tensor<?x4xi8, #lut.fixed<8 : i64, @a.key.exponents>>; change the type}}
  %0 = "lut.append"(%a, %b, %c) : (tensor<?x4xi8, #k>, tensor<?x4xi8, #k>, tensor<1xi32>) -> tensor<?x4xi8, #k>
  return
}

// -----

#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>
func.func @f(%a: tensor<16x4xi8, #k>, %b: tensor<?x4xi8, #k>, %c: tensor<1xi32>) {
  // expected-error@+1 {{'lut.append' op expected y to have the type of cache, tensor<16x4xi8, #lut.fixed<8 : i64, @a.key.exponents>>, got tensor<16x4xi8, #lut.fixed<8 : i64, @a.value.exponents>>; change the type}}
  %0 = "lut.append"(%a, %b, %c) : (tensor<16x4xi8, #k>, tensor<?x4xi8, #k>, tensor<1xi32>) -> tensor<16x4xi8, #v>
  return
}

// -----

#k = #lut.fixed<8, @a.key.exponents>
func.func @f(%a: tensor<16x4xi8, #k>, %b: tensor<?x8xi8, #k>, %c: tensor<1xi32>) {
  // expected-error@+1 {{'lut.append' op expected K of new = 4, got 8; change the type}}
  %0 = "lut.append"(%a, %b, %c) : (tensor<16x4xi8, #k>, tensor<?x8xi8, #k>, tensor<1xi32>) -> tensor<16x4xi8, #k>
  return
}

// -----

#k = #lut.fixed<8, @a.key.exponents>
func.func @f(%a: tensor<16x4xi8, #k>, %b: tensor<?x4xi16, #lut.fixed<9, @a.key.exponents>>, %c: tensor<1xi32>) {
  // expected-error@+1 {{'lut.append' op expected bits of new = 8, got 9; change the type}}
  %0 = "lut.append"(%a, %b, %c) : (tensor<16x4xi8, #k>, tensor<?x4xi16, #lut.fixed<9, @a.key.exponents>>, tensor<1xi32>) -> tensor<16x4xi8, #k>
  return
}

// -----

#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>
func.func @f(%a: tensor<16x4xi8, #k>, %b: tensor<?x4xi8, #v>, %c: tensor<1xi32>) {
  // expected-error@+1 {{'lut.append' op expected exponents of new = @a.key.exponents, got @a.value.exponents; change the type}}
  %0 = "lut.append"(%a, %b, %c) : (tensor<16x4xi8, #k>, tensor<?x4xi8, #v>, tensor<1xi32>) -> tensor<16x4xi8, #k>
  return
}

// -----

#k = #lut.fixed<8, @a.key.exponents>
func.func @f(%a: tensor<16x4xi8, #k>, %b: tensor<17x4xi8, #k>, %c: tensor<1xi32>) {
  // expected-error@+1 {{'lut.append' op expected at most 16 tokens (rows of cache), got 17; change the type}}
  %0 = "lut.append"(%a, %b, %c) : (tensor<16x4xi8, #k>, tensor<17x4xi8, #k>, tensor<1xi32>) -> tensor<16x4xi8, #k>
  return
}
