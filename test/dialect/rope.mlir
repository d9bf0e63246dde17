// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// Two heads of four channels, so two angles for each position.

#n = #lut.fixed<28, -20>

ml_program.global private @rope.cosines(#ml_program.extern : tensor<16x2xi16>) : tensor<16x2xi16>
ml_program.global private @rope.sines(#ml_program.extern : tensor<16x2xi16>) : tensor<16x2xi16>

// CHECK-LABEL: func.func @rope(
func.func @rope(%a: tensor<?x8xi32, #n>, %b: tensor<1xi32>) -> tensor<?x8xi32, #n> {
  // CHECK: "lut.rope"(%{{.*}}, %{{.*}}) {cosines = @rope.cosines, heads = 2 : i64, positions = 16 : i64, sines = @rope.sines} : (tensor<?x8xi32, #lut.fixed<28 : i64, -20 : i64>>, tensor<1xi32>) -> tensor<?x8xi32, #lut.fixed<28 : i64, -20 : i64>>
  %0 = "lut.rope"(%a, %b) {heads = 2, positions = 16, cosines = @rope.cosines, sines = @rope.sines} : (tensor<?x8xi32, #n>, tensor<1xi32>) -> tensor<?x8xi32, #n>
  // CHECK: "lut.rope"(%{{.*}}, %{{.*}}) {cosines = @rope.cosines, heads = 1 : i64, interleaved, positions = 16 : i64, rotated = 4 : i64, sines = @rope.sines}
  %1 = "lut.rope"(%a, %b) {heads = 1, positions = 16, cosines = @rope.cosines, sines = @rope.sines, rotated = 4, interleaved} : (tensor<?x8xi32, #n>, tensor<1xi32>) -> tensor<?x8xi32, #n>
  // CHECK: "lut.slice"(%{{.*}}) {groups = 2 : i64, start = 1 : i64}
  %2 = "lut.slice"(%1) {groups = 2, start = 1} : (tensor<?x8xi32, #n>) -> tensor<?x6xi32, #n>
  return %0 : tensor<?x8xi32, #n>
}
