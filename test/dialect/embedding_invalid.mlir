// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Token ids have one dimension, rows one exponent.

#r = #lut.fixed<26, -16>
func.func @f(%a: tensor<?x1xi32>) {
  // expected-error@+1 {{'lut.embedding' op expected ids to be tensor<Txi32>, got tensor<?x1xi32>; change the type}}
  %0 = "lut.embedding"(%a) {rows = @e.rows, multiplier = @e.multiplier, shift = 10, vocabulary = 32} : (tensor<?x1xi32>) -> tensor<?x8xi32, #r>
  return
}

// -----

#r = #lut.fixed<26, -16>
func.func @f(%a: tensor<?xi64>) {
  // expected-error@+1 {{'lut.embedding' op expected ids to be tensor<Txi32>, got tensor<?xi64>; change the type}}
  %0 = "lut.embedding"(%a) {rows = @e.rows, multiplier = @e.multiplier, shift = 10, vocabulary = 32} : (tensor<?xi64>) -> tensor<?x8xi32, #r>
  return
}

// -----

#r = #lut.fixed<26, -16>
func.func @f(%a: tensor<?xi32, #lut.fixed<16, 0>>) {
  // expected-error@+1 {{'lut.embedding' op expected ids to be tensor<Txi32>, got tensor<?xi32, #lut.fixed<16 : i64, 0 : i64>>; remove the encoding}}
  %0 = "lut.embedding"(%a) {rows = @e.rows, multiplier = @e.multiplier, shift = 10, vocabulary = 32} : (tensor<?xi32, #lut.fixed<16, 0>>) -> tensor<?x8xi32, #r>
  return
}

// -----

#r = #lut.fixed<26, -16>
func.func @f(%a: tensor<3xi32>) {
  // expected-error@+1 {{'lut.embedding' op expected y to have the leading dimensions of ids, [3], got [?]; change the type}}
  %0 = "lut.embedding"(%a) {rows = @e.rows, multiplier = @e.multiplier, shift = 10, vocabulary = 32} : (tensor<3xi32>) -> tensor<?x8xi32, #r>
  return
}

// -----

#q = #lut.fixed<16, @a.query.exponents>
func.func @f(%a: tensor<?xi32>) {
  // expected-error@+1 {{'lut.embedding' op expected one i64 exponent for y, got @a.query.exponents; change the encoding}}
  %0 = "lut.embedding"(%a) {rows = @e.rows, multiplier = @e.multiplier, shift = 10, vocabulary = 32} : (tensor<?xi32>) -> tensor<?x8xi32, #q>
  return
}

// -----

#r = #lut.fixed<26, -16>
func.func @f(%a: tensor<?xi32>) {
  // expected-error@+1 {{'lut.embedding' op expected y to be tensor<TxKxi32, #lut.fixed<...>>, of sizes >= 1, static but for tokens, got tensor<?x?xi32, #lut.fixed<26 : i64, -16 : i64>>; change the type}}
  %0 = "lut.embedding"(%a) {rows = @e.rows, multiplier = @e.multiplier, shift = 10, vocabulary = 32} : (tensor<?xi32>) -> tensor<?x?xi32, #r>
  return
}

// -----

#r = #lut.fixed<26, -16>
func.func @f(%a: tensor<?xi32>) {
  // expected-error@+1 {{'lut.embedding' op expected shift in 0..47, got 48; change it}}
  %0 = "lut.embedding"(%a) {rows = @e.rows, multiplier = @e.multiplier, shift = 48, vocabulary = 32} : (tensor<?xi32>) -> tensor<?x8xi32, #r>
  return
}

// -----

#r = #lut.fixed<26, -16>
func.func @f(%a: tensor<?xi32>) {
  // expected-error@+1 {{'lut.embedding' op expected vocabulary in 1..2147483647, got 0; change it}}
  %0 = "lut.embedding"(%a) {rows = @e.rows, multiplier = @e.multiplier, shift = 10, vocabulary = 0} : (tensor<?xi32>) -> tensor<?x8xi32, #r>
  return
}

// -----

#r = #lut.fixed<26, -16>
func.func @f(%a: tensor<?xi32>) {
  // expected-error@+1 {{'lut.embedding' op expected a position with an offset, got an offset alone; add it, or remove the offset}}
  %0 = "lut.embedding"(%a) {rows = @e.rows, multiplier = @e.multiplier, shift = 10, vocabulary = 32, offset = 2} : (tensor<?xi32>) -> tensor<?x8xi32, #r>
  return
}

// -----

#r = #lut.fixed<26, -16>
func.func @f(%a: tensor<?xi32>, %p: tensor<1xi32>) {
  // expected-error@+1 {{'lut.embedding' op expected an offset with a position, got none; add it, 0 where the first row is that of position 0}}
  %0 = "lut.embedding"(%a, %p) {rows = @e.rows, multiplier = @e.multiplier, shift = 10, vocabulary = 32} : (tensor<?xi32>, tensor<1xi32>) -> tensor<?x8xi32, #r>
  return
}

// -----

#r = #lut.fixed<26, -16>
func.func @f(%a: tensor<?xi32>, %p: tensor<1xi32>) {
  // expected-error@+1 {{'lut.embedding' op expected offset in 0..31, got 32; change it}}
  %0 = "lut.embedding"(%a, %p) {rows = @e.rows, multiplier = @e.multiplier, shift = 10, vocabulary = 32, offset = 32} : (tensor<?xi32>, tensor<1xi32>) -> tensor<?x8xi32, #r>
  return
}
