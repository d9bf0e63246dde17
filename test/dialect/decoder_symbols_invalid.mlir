// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// The globals of the decoder ops have the shapes that attributes and types say.

#r = #lut.fixed<26, -16>
ml_program.global private @e.rows(#ml_program.extern : tensor<31x8xi8>) : tensor<31x8xi8>
ml_program.global private @e.multiplier(#ml_program.extern : tensor<32xi32>) : tensor<32xi32>
func.func @f(%a: tensor<?xi32>) {
  // expected-error@+1 {{'lut.embedding' op expected @e.rows for 'rows' to be tensor<32x8xi8>, got tensor<31x8xi8>; change the global, the scheme or the type of the op}}
  %0 = "lut.embedding"(%a) {rows = @e.rows, multiplier = @e.multiplier, shift = 10, vocabulary = 32} : (tensor<?xi32>) -> tensor<?x8xi32, #r>
  return
}

// -----

#r = #lut.fixed<26, -16>
ml_program.global private @e.rows(#ml_program.extern : tensor<32x8xi8>) : tensor<32x8xi8>
ml_program.global private @e.multiplier(#ml_program.extern : tensor<32xi16>) : tensor<32xi16>
func.func @f(%a: tensor<?xi32>) {
  // expected-error@+1 {{'lut.embedding' op expected @e.multiplier for 'multiplier' to be tensor<32xi32>, got tensor<32xi16>; change the global, the scheme or the type of the op}}
  %0 = "lut.embedding"(%a) {rows = @e.rows, multiplier = @e.multiplier, shift = 10, vocabulary = 32} : (tensor<?xi32>) -> tensor<?x8xi32, #r>
  return
}

// -----

#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>
ml_program.global private @n.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @f(%a: tensor<?x8xi32, #r>) {
  // expected-error@+1 {{'lut.rms_norm' op expected @n.gain for 'gain' to be tensor<4xi32>, got tensor<8xi32>; change the global, the scheme or the type of the op}}
  %0 = "lut.rms_norm"(%a) {gain = @n.gain, groups = 2, epsilon = 0, shift = 12} : (tensor<?x8xi32, #r>) -> tensor<?x8xi32, #n>
  return
}

// -----

#n = #lut.fixed<28, -20>
#x = #lut.fixed<16, @q.input.exponents>
ml_program.global private @q.input.exponents(#ml_program.extern : tensor<8xi8>) : tensor<8xi8>
func.func @f(%a: tensor<?x8xi32, #n>) {
  // expected-error@+1 {{'lut.rescale' op expected @q.input.exponents for 'y.exponents' to be tensor<4xi8>, got tensor<8xi8>; change the global, the scheme or the type of the op}}
  %0 = "lut.rescale"(%a) : (tensor<?x8xi32, #n>) -> tensor<?x8xi16, #x>
  return
}

// -----

#n = #lut.fixed<28, -20>
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%a: tensor<?x8xi32, #n>, %b: tensor<?x8xi32, #n>) {
  // expected-error@+1 {{'lut.swiglu' op expected a ml_program.global @q.input.exponents for 'y.exponents', got none; declare it with #ml_program.extern : tensor<4xi8>}}
  %0 = "lut.swiglu"(%a, %b) : (tensor<?x8xi32, #n>, tensor<?x8xi32, #n>) -> tensor<?x8xi16, #x>
  return
}

// -----

#n = #lut.fixed<28, -20>
ml_program.global private @rope.cosines(#ml_program.extern : tensor<16x2xi16>) : tensor<16x2xi16>
ml_program.global private @rope.sines(#ml_program.extern : tensor<16x2xi16>) : tensor<16x2xi16>
func.func @f(%a: tensor<?x8xi32, #n>, %b: tensor<1xi32>) {
  // expected-error@+1 {{'lut.rope' op expected @rope.cosines for 'cosines' to be tensor<16x1xi16>, got tensor<16x2xi16>; change the global, the scheme or the type of the op}}
  %0 = "lut.rope"(%a, %b) {heads = 4, positions = 16, cosines = @rope.cosines, sines = @rope.sines} : (tensor<?x8xi32, #n>, tensor<1xi32>) -> tensor<?x8xi32, #n>
  return
}

// -----

#k = #lut.fixed<8, @a.key.exponents>
ml_program.global private @a.key.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
func.func @f(%a: tensor<16x4xi8, #k>, %b: tensor<?x4xi8, #k>, %c: tensor<1xi32>) {
  // expected-error@+1 {{'lut.append' op expected @a.key.exponents for 'cache.exponents' to be tensor<2xi8>, got tensor<4xi8>; change the global, the scheme or the type of the op}}
  %0 = "lut.append"(%a, %b, %c) : (tensor<16x4xi8, #k>, tensor<?x4xi8, #k>, tensor<1xi32>) -> tensor<16x4xi8, #k>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>
ml_program.global private @a.query.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.key.exponents(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
ml_program.global private @a.value.exponents(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<2xi32>) : tensor<2xi32>
ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
func.func @f(%a: tensor<?x8xi16, #q>, %b: tensor<16x4xi8, #k>, %c: tensor<16x4xi8, #v>, %d: tensor<1xi32>) {
  // expected-error@+1 {{'lut.attention' op expected @a.multiplier for 'multiplier' to be tensor<4xi32>, got tensor<2xi32>; change the global, the scheme or the type of the op}}
  %0 = "lut.attention"(%a, %b, %c, %d) {heads = 4, kv_heads = 2, multiplier = @a.multiplier, shift = 20} : (tensor<?x8xi16, #q>, tensor<16x4xi8, #k>, tensor<16x4xi8, #v>, tensor<1xi32>) -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>
ml_program.global private @a.query.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.key.exponents(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
ml_program.global private @a.value.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<4xi32>) : tensor<4xi32>
ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
func.func @f(%a: tensor<?x8xi16, #q>, %b: tensor<16x4xi8, #k>, %c: tensor<16x4xi8, #v>, %d: tensor<1xi32>) {
  // expected-error@+1 {{'lut.attention' op expected @a.value.exponents for 'values.exponents' to be tensor<2xi8>, got tensor<4xi8>; change the global, the scheme or the type of the op}}
  %0 = "lut.attention"(%a, %b, %c, %d) {heads = 4, kv_heads = 2, multiplier = @a.multiplier, shift = 20} : (tensor<?x8xi16, #q>, tensor<16x4xi8, #k>, tensor<16x4xi8, #v>, tensor<1xi32>) -> tensor<?x8xi16, #x>
  return
}
