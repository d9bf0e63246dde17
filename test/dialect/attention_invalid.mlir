// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Heads divide the channels evenly, kv heads divide heads, scores fit 32 bits.

#x = #lut.fixed<16, @q.input.exponents>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>
func.func @f(%a: tensor<?x8xi16, #q>, %b: tensor<16x4xi8, #k>, %c: tensor<16x4xi8, #v>, %d: tensor<1xi32>) {
  // expected-error@+1 {{'lut.attention' op expected kv_heads to divide heads, 4, got 3; change either}}
  %0 = "lut.attention"(%a, %b, %c, %d) {heads = 4, kv_heads = 3, multiplier = @a.multiplier, shift = 20} : (tensor<?x8xi16, #q>, tensor<16x4xi8, #k>, tensor<16x4xi8, #v>, tensor<1xi32>) -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>
func.func @f(%a: tensor<?x8xi16, #q>, %b: tensor<16x4xi8, #k>, %c: tensor<16x4xi8, #v>, %d: tensor<1xi32>) {
  // expected-error@+1 {{'lut.attention' op expected heads to divide the channels of query, 8, got 6; change either}}
  %0 = "lut.attention"(%a, %b, %c, %d) {heads = 6, kv_heads = 2, multiplier = @a.multiplier, shift = 20} : (tensor<?x8xi16, #q>, tensor<16x4xi8, #k>, tensor<16x4xi8, #v>, tensor<1xi32>) -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>
func.func @f(%a: tensor<?x8xi16, #q>, %b: tensor<16x4xi8, #k>, %c: tensor<16x4xi8, #v>, %d: tensor<1xi32>) {
  // expected-error@+1 {{'lut.attention' op expected channels of keys, in heads as wide as those of query, = 8, got 4; change the type}}
  %0 = "lut.attention"(%a, %b, %c, %d) {heads = 4, kv_heads = 4, multiplier = @a.multiplier, shift = 20} : (tensor<?x8xi16, #q>, tensor<16x4xi8, #k>, tensor<16x4xi8, #v>, tensor<1xi32>) -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>
func.func @f(%a: tensor<?x8xi16, #q>, %b: tensor<16x4xi8, #k>, %c: tensor<16x4xi8, #v>, %d: tensor<1xi32>) {
  // expected-error@+1 {{'lut.attention' op expected an even number of channels in a head, got 1; change heads}}
  %0 = "lut.attention"(%a, %b, %c, %d) {heads = 8, kv_heads = 4, multiplier = @a.multiplier, shift = 20} : (tensor<?x8xi16, #q>, tensor<16x4xi8, #k>, tensor<16x4xi8, #v>, tensor<1xi32>) -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>
func.func @f(%a: tensor<?x8xi16, #q>, %b: tensor<16x4xi8, #k>, %c: tensor<16x4xi8, #v>, %d: tensor<1xi32>) {
  // expected-error@+1 {{'lut.attention' op expected kv_heads in 1..2147483647, got 0; change it}}
  %0 = "lut.attention"(%a, %b, %c, %d) {heads = 4, kv_heads = 0, multiplier = @a.multiplier, shift = 20} : (tensor<?x8xi16, #q>, tensor<16x4xi8, #k>, tensor<16x4xi8, #v>, tensor<1xi32>) -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>
func.func @f(%a: tensor<?x8xi16, #q>, %b: tensor<16x4xi8, #k>, %c: tensor<15x4xi8, #v>, %d: tensor<1xi32>) {
  // expected-error@+1 {{'lut.attention' op expected values to have the leading dimensions of keys, [16], got [15]; change the type}}
  %0 = "lut.attention"(%a, %b, %c, %d) {heads = 4, kv_heads = 2, multiplier = @a.multiplier, shift = 20} : (tensor<?x8xi16, #q>, tensor<16x4xi8, #k>, tensor<15x4xi8, #v>, tensor<1xi32>) -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>
func.func @f(%a: tensor<?x8xi16, #q>, %b: tensor<16x4xi8, #k>, %c: tensor<16x4xi8, #v>, %d: tensor<1xi32>) {
  // expected-error@+1 {{'lut.attention' op expected K of y = 8, got 6; change the type}}
  %0 = "lut.attention"(%a, %b, %c, %d) {heads = 4, kv_heads = 2, multiplier = @a.multiplier, shift = 20} : (tensor<?x8xi16, #q>, tensor<16x4xi8, #k>, tensor<16x4xi8, #v>, tensor<1xi32>) -> tensor<?x6xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>
func.func @f(%a: tensor<?x8xi16, #q>, %b: tensor<16x4xi8, #k>, %c: tensor<16x4xi8, #v>, %d: tensor<1xi32>) {
  // expected-error@+1 {{'lut.attention' op expected shift in 0..47, got 48; change it}}
  %0 = "lut.attention"(%a, %b, %c, %d) {heads = 4, kv_heads = 2, multiplier = @a.multiplier, shift = 48} : (tensor<?x8xi16, #q>, tensor<16x4xi8, #k>, tensor<16x4xi8, #v>, tensor<1xi32>) -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
#q = #lut.fixed<16, @a.query.exponents>
#v = #lut.fixed<8, @a.value.exponents>
func.func @f(%a: tensor<?x8xi16, #q>, %b: tensor<16x4xi8, #lut.fixed<8, -3>>, %c: tensor<16x4xi8, #v>, %d: tensor<1xi32>) {
  // expected-error@+1 {{'lut.attention' op expected exponents of keys to be a symbol, one for each pair, got -3; change the encoding}}
  %0 = "lut.attention"(%a, %b, %c, %d) {heads = 4, kv_heads = 2, multiplier = @a.multiplier, shift = 20} : (tensor<?x8xi16, #q>, tensor<16x4xi8, #lut.fixed<8, -3>>, tensor<16x4xi8, #v>, tensor<1xi32>) -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>
func.func @f(%a: tensor<17x8xi16, #q>, %b: tensor<16x4xi8, #k>, %c: tensor<16x4xi8, #v>, %d: tensor<1xi32>) {
  // expected-error@+1 {{'lut.attention' op expected at most 16 tokens (rows of keys), got 17; change the type}}
  %0 = "lut.attention"(%a, %b, %c, %d) {heads = 4, kv_heads = 2, multiplier = @a.multiplier, shift = 20} : (tensor<17x8xi16, #q>, tensor<16x4xi8, #k>, tensor<16x4xi8, #v>, tensor<1xi32>) -> tensor<17x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>
func.func @f(%a: tensor<?x8xi16, #q>, %b: tensor<1048577x4xi8, #k>, %c: tensor<1048577x4xi8, #v>, %d: tensor<1xi32>) {
  // expected-error@+1 {{'lut.attention' op expected at most 1048576 rows of keys, got 1048577; compile with a shorter context}}
  %0 = "lut.attention"(%a, %b, %c, %d) {heads = 4, kv_heads = 2, multiplier = @a.multiplier, shift = 20} : (tensor<?x8xi16, #q>, tensor<1048577x4xi8, #k>, tensor<1048577x4xi8, #v>, tensor<1xi32>) -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>
func.func @f(%a: tensor<?x1024xi16, #q>, %b: tensor<16x1024xi8, #k>, %c: tensor<16x1024xi8, #v>, %d: tensor<1xi32>) {
  // expected-error@+1 {{'lut.attention' op expected scores to fit 32 bits, got 33; give query or keys fewer bits}}
  %0 = "lut.attention"(%a, %b, %c, %d) {heads = 1, kv_heads = 1, multiplier = @a.multiplier, shift = 20} : (tensor<?x1024xi16, #q>, tensor<16x1024xi8, #k>, tensor<16x1024xi8, #v>, tensor<1xi32>) -> tensor<?x1024xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
func.func @f(%a: tensor<?x8xi16, #q>, %b: tensor<16x4xi8, #k>, %d: tensor<1xi32>) {
  // expected-error@+1 {{'lut.attention' op expected window in 1..2147483647, got -1; change it}}
  %0 = "lut.attention"(%a, %b, %b, %d) {heads = 4, kv_heads = 2, multiplier = @a.multiplier, shift = 20, window = -1} : (tensor<?x8xi16, #q>, tensor<16x4xi8, #k>, tensor<16x4xi8, #k>, tensor<1xi32>) -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
func.func @f(%a: tensor<?x8xi16, #q>, %b: tensor<16x4xi8, #k>, %d: tensor<1xi32>) {
  // expected-error@+1 {{'lut.attention' op expected softcap in 1..2147483647, got 0; change it}}
  %0 = "lut.attention"(%a, %b, %b, %d) {heads = 4, kv_heads = 2, multiplier = @a.multiplier, shift = 20, softcap = 0} : (tensor<?x8xi16, #q>, tensor<16x4xi8, #k>, tensor<16x4xi8, #k>, tensor<1xi32>) -> tensor<?x8xi16, #x>
  return
}
