// Graphs that are no decoder: one function, whose argument has the exponents of the linears that read it.
// RUN: lutllm-opt %s --split-input-file --lut-quantize=quantization=%S/Inputs/lut-quantize/parts.json --mlir-print-debuginfo | FileCheck %s

ml_program.global private @gate.weight(#ml_program.extern : tensor<12x8xf32>) : tensor<12x8xf32>
ml_program.global private @up.weight(#ml_program.extern : tensor<12x8xf32>) : tensor<12x8xf32>
ml_program.global private @down.weight(#ml_program.extern : tensor<8x12xf32>) : tensor<8x12xf32>

// An MLP alone. Both its linears read the argument; the gated activation has the exponents of the third.
// CHECK: module attributes {lut.store = #lut.store<"parameters.safetensors", "0123456789abcdef{{.*}}">}
// CHECK-NOT: weight(
// CHECK: ml_program.global private @gate.codes({{.*}}) : tensor<4x1x12xi8>
// CHECK: func.func @forward(%[[X:.*]]: tensor<?x8xi16, #lut.fixed<16 : i64, @gate.input.exponents>> loc("x")) -> tensor<?x8xi32, #lut.fixed<24 : i64, -18 : i64>> {
// CHECK-NEXT: %[[G:.*]] = "lut.linear"(%[[X]]) {{.*}}@gate{{.*}} loc(#[[GATE:.*]])
// CHECK-NEXT: %[[U:.*]] = "lut.linear"(%[[X]]) {{.*}}@up
// CHECK-NEXT: %[[S:.*]] = "lut.swiglu"(%[[G]], %[[U]]) {{.*}} -> tensor<?x12xi16, #lut.fixed<16 : i64, @down.input.exponents>>
// CHECK-NEXT: %[[Y:.*]] = "lut.linear"(%[[S]]) {{.*}}@down
// CHECK-NEXT: return %[[Y]]
// CHECK: #[[FILE:.*]] = loc("model.py":7:3)
// CHECK: #[[GATE]] = loc("mlp.gate"(#[[FILE]]))
func.func @forward(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %0 = "lut.float_linear"(%x) {name = "gate", weight = @gate.weight} : (tensor<?x8xf32>) -> tensor<?x12xf32> loc("mlp.gate"("model.py":7:3))
  %1 = "lut.float_linear"(%x) {name = "up", weight = @up.weight} : (tensor<?x8xf32>) -> tensor<?x12xf32>
  %2 = "lut.float_gated"(%0, %1) {name = "gated", activation = "silu"} : (tensor<?x12xf32>, tensor<?x12xf32>) -> tensor<?x12xf32>
  %3 = "lut.float_linear"(%2) {name = "down", weight = @down.weight} : (tensor<?x12xf32>) -> tensor<?x8xf32>
  return %3 : tensor<?x8xf32>
}

// -----

ml_program.global private @gate.weight(#ml_program.extern : tensor<12x8xf32>) : tensor<12x8xf32>
ml_program.global private @down.weight(#ml_program.extern : tensor<8x12xf32>) : tensor<8x12xf32>
ml_program.global private @other.weight(#ml_program.extern : tensor<8x8xf32>) : tensor<8x8xf32>
ml_program.global private @norm.weight(#ml_program.extern : tensor<12xf32>) : tensor<12xf32>

// A linear, a norm, a linear, and a sum of both ends of another: a rescale before the linear alone. Order of the text
// does not matter, and what no result needs is left out.
// CHECK: func.func @forward(%[[X:.*]]: tensor<?x8xi16, #lut.fixed<16 : i64, @gate.input.exponents>>
// CHECK-NEXT: %[[A:.*]] = "lut.linear"(%[[X]]) {{.*}}@gate
// CHECK-NEXT: %[[N:.*]] = "lut.rms_norm"(%[[A]]) {{{.*}}epsilon = 40 : i64, gain = @norm.gain, groups = 1 : i64, shift = 20 : i64} {{.*}} -> tensor<?x12xi32, #lut.fixed<28 : i64, -22 : i64>>
// CHECK-NEXT: %[[R:.*]] = "lut.rescale"(%[[N]]) {{.*}} -> tensor<?x12xi16, #lut.fixed<16 : i64, @down.input.exponents>>
// CHECK-NEXT: %[[B:.*]] = "lut.linear"(%[[R]]) {{.*}}@down
// CHECK-NEXT: %[[I:.*]] = "lut.rescale"(%[[B]])
// CHECK-NEXT: %[[C:.*]] = "lut.linear"(%[[I]]) {{.*}}@other
// CHECK-NEXT: %[[Y:.*]] = "lut.add"(%[[B]], %[[C]]) {{.*}} -> tensor<?x8xi32, #lut.fixed<26 : i64, -17 : i64>>
// CHECK-NEXT: return %[[Y]]
func.func @forward(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %0 = "lut.float_linear"(%x) {name = "gate", weight = @gate.weight} : (tensor<?x8xf32>) -> tensor<?x12xf32>
  %unread = "lut.float_linear"(%x) {name = "none", weight = @gate.weight} : (tensor<?x8xf32>) -> tensor<?x12xf32>
  %1 = "lut.float_norm"(%0) {name = "norm", gain = @norm.weight, kind = "rms", epsilon = 1.0e-06, groups = 1} : (tensor<?x12xf32>) -> tensor<?x12xf32>
  %2 = "lut.float_linear"(%1) {name = "down", weight = @down.weight} : (tensor<?x12xf32>) -> tensor<?x8xf32>
  %3 = "lut.float_linear"(%2) {name = "other", weight = @other.weight} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %4 = "lut.float_add"(%2, %3) {name = "sum"} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %4 : tensor<?x8xf32>
}
