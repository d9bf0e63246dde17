// An MLP alone: a linear puts its codebook blocks out padded to whole chunks, what is computed channel by channel keeps
// that, and the next linear reads it; a layout that stands there stays.
// RUN: lutllm-opt %s --lut-decompose --lut-place=target=tiny --lut-layout | FileCheck %s
// RUN: lutllm-opt %s --lut-decompose --lut-place=target=tiny --lut-layout --lut-layout | FileCheck %s

// CHECK-COUNT-3: "lut.layout"
// CHECK-NOT: "lut.layout"
// CHECK: func.func @prefill
// CHECK: }) {engines = ["load"], label = "input0", layout = [[X:@c8_p4]]}
// CHECK: }) {engines = ["feed", "linear", "store"], label = "gate", layout = [[M:@c20_b12_p8]]}
// CHECK: }) {engines = ["feed", "linear", "swiglu"], label = "up", layout = [[M]]}
// CHECK: }) {engines = ["feed", "linear", "save"], label = "down", layout = [[Y:@c8_p8]]}

#x = #lut.fixed<16, @gate.input.exponents>
#m = #lut.fixed<16, @down.input.exponents>
#y = #lut.fixed<24, -20>
"lut.scheme"() {sym_name = "s12", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 12, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @gate.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @gate.codes(#ml_program.extern : tensor<4x1x20xi8>) : tensor<4x1x20xi8>
ml_program.global private @gate.weight_codebook(#ml_program.extern : tensor<4x2x1x16x2xi8>) : tensor<4x2x1x16x2xi8>
ml_program.global private @gate.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @gate.multiplier(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @gate.bias(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @up.codes(#ml_program.extern : tensor<4x1x20xi8>) : tensor<4x1x20xi8>
ml_program.global private @up.weight_codebook(#ml_program.extern : tensor<4x2x1x16x2xi8>) : tensor<4x2x1x16x2xi8>
ml_program.global private @up.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @up.multiplier(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @up.bias(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @down.input.exponents(#ml_program.extern : tensor<10xi8>) : tensor<10xi8>
ml_program.global private @down.codes(#ml_program.extern : tensor<10x1x8xi8>) : tensor<10x1x8xi8>
ml_program.global private @down.weight_codebook(#ml_program.extern : tensor<10x1x1x16x2xi8>) : tensor<10x1x1x16x2xi8>
ml_program.global private @down.shifts(#ml_program.extern : tensor<10x2xi8>) : tensor<10x2xi8>
ml_program.global private @down.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @down.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y> {
  %0 = "lut.linear"(%x) {scheme = @s12, weights = @gate, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x20xi32, #y>
  %1 = "lut.linear"(%x) {scheme = @s12, weights = @up, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x20xi32, #y>
  %2 = "lut.swiglu"(%0, %1) : (tensor<?x20xi32, #y>, tensor<?x20xi32, #y>) -> tensor<?x20xi16, #m>
  %3 = "lut.linear"(%2) {scheme = @exact, weights = @down, shift = 20} : (tensor<?x20xi16, #m>) -> tensor<?x8xi32, #y>
  return %3 : tensor<?x8xi32, #y>
}
