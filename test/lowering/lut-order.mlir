// One attention layer. Keys and values pass through memory, so they come before queries; what waits for a linear comes
// after the linears that do not.
// RUN: lutllm-opt %s --lut-decompose --lut-place=target=tiny --lut-order | FileCheck %s

// CHECK: engines = ["load"], label = "input0"
// CHECK: engines = ["feed", "linear", "store"], label = "k"
// CHECK: engines = ["feed", "linear", "store"], label = "v"
// CHECK: engines = ["feed", "linear", "store"], label = "q"
// CHECK: engines = ["heads"], label = "k.heads"
// CHECK: engines = ["heads"], label = "v.heads"
// CHECK: engines = ["heads"], label = "q.heads"
// CHECK: engines = ["attention"], label = "attention"
// CHECK: engines = ["feed", "linear", "save"], label = "o"
// CHECK: return

#x = #lut.fixed<16, @x.input.exponents>
#y = #lut.fixed<24, -20>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>
#s = #lut.fixed<16, @o.input.exponents>
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 64, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @q.codes(#ml_program.extern : tensor<4x1x16xi8>) : tensor<4x1x16xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
ml_program.global private @k.codes(#ml_program.extern : tensor<4x1x8xi8>) : tensor<4x1x8xi8>
ml_program.global private @k.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @k.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @k.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @k.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @v.codes(#ml_program.extern : tensor<4x1x8xi8>) : tensor<4x1x8xi8>
ml_program.global private @v.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @v.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @v.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @v.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @o.input.exponents(#ml_program.extern : tensor<8xi8>) : tensor<8xi8>
ml_program.global private @o.codes(#ml_program.extern : tensor<8x1x8xi8>) : tensor<8x1x8xi8>
ml_program.global private @o.weight_codebook(#ml_program.extern : tensor<8x1x1x16x2xi8>) : tensor<8x1x1x16x2xi8>
ml_program.global private @o.shifts(#ml_program.extern : tensor<8x2xi8>) : tensor<8x2xi8>
ml_program.global private @o.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @o.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @a.query.exponents(#ml_program.extern : tensor<8xi8>) : tensor<8xi8>
ml_program.global private @a.key.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.value.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<2xi32>) : tensor<2xi32>
ml_program.global private @rope.cosines(#ml_program.extern : tensor<16x4xi16>) : tensor<16x4xi16>
ml_program.global private @rope.sines(#ml_program.extern : tensor<16x4xi16>) : tensor<16x4xi16>
func.func @prefill(%x: tensor<?x8xi16, #x>, %p: tensor<1xi32>, %c: tensor<16x8xi8, #k>, %d: tensor<16x8xi8, #v>) -> (tensor<?x8xi32, #y>, tensor<16x8xi8, #k>, tensor<16x8xi8, #v>) {
  %0 = "lut.linear"(%x) {scheme = @exact, weights = @q, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x16xi32, #y>
  %1 = "lut.linear"(%x) {scheme = @exact, weights = @k, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y>
  %2 = "lut.linear"(%x) {scheme = @exact, weights = @v, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y>
  %3 = "lut.rope"(%0, %p) {heads = 2, positions = 16, cosines = @rope.cosines, sines = @rope.sines} : (tensor<?x16xi32, #y>, tensor<1xi32>) -> tensor<?x16xi32, #y>
  %4 = "lut.rope"(%1, %p) {heads = 1, positions = 16, cosines = @rope.cosines, sines = @rope.sines} : (tensor<?x8xi32, #y>, tensor<1xi32>) -> tensor<?x8xi32, #y>
  %5 = "lut.rescale"(%3) : (tensor<?x16xi32, #y>) -> tensor<?x16xi16, #q>
  %6 = "lut.rescale"(%4) : (tensor<?x8xi32, #y>) -> tensor<?x8xi8, #k>
  %7 = "lut.rescale"(%2) : (tensor<?x8xi32, #y>) -> tensor<?x8xi8, #v>
  %8 = "lut.append"(%c, %6, %p) : (tensor<16x8xi8, #k>, tensor<?x8xi8, #k>, tensor<1xi32>) -> tensor<16x8xi8, #k>
  %9 = "lut.append"(%d, %7, %p) : (tensor<16x8xi8, #v>, tensor<?x8xi8, #v>, tensor<1xi32>) -> tensor<16x8xi8, #v>
  %10 = "lut.attention"(%5, %8, %9, %p) {heads = 2, kv_heads = 1, multiplier = @a.multiplier, shift = 15} : (tensor<?x16xi16, #q>, tensor<16x8xi8, #k>, tensor<16x8xi8, #v>, tensor<1xi32>) -> tensor<?x16xi16, #s>
  %11 = "lut.linear"(%10) {scheme = @exact, weights = @o, shift = 20} : (tensor<?x16xi16, #s>) -> tensor<?x8xi32, #y>
  return %11, %8, %9 : tensor<?x8xi32, #y>, tensor<16x8xi8, #k>, tensor<16x8xi8, #v>
}
