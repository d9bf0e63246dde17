// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// Two heads of four channels, so two angles for each position.

#n = #lut.fixed<28, -20>

ml_program.global private @rope.cosines(#ml_program.extern : tensor<16x2xi16>) : tensor<16x2xi16>
ml_program.global private @rope.sines(#ml_program.extern : tensor<16x2xi16>) : tensor<16x2xi16>

// CHECK-LABEL: func.func @rope(
func.func @rope(%a: tensor<?x8xi32, #n>, %b: tensor<1xi32>) -> tensor<?x8xi32, #n> {
  // CHECK: "lut.rope"(%{{.*}}, %{{.*}}) {cosines = @rope.cosines, heads = 2 : i64, positions = 16 : i64, sines = @rope.sines} : (tensor<?x8xi32, #lut.fixed<28 : i64, -20 : i64>>, tensor<1xi32>) -> tensor<?x8xi32, #lut.fixed<28 : i64, -20 : i64>>
  %0 = "lut.rope"(%a, %b) {heads = 2, positions = 16, cosines = @rope.cosines, sines = @rope.sines} : (tensor<?x8xi32, #n>, tensor<1xi32>) -> tensor<?x8xi32, #n>
  return %0 : tensor<?x8xi32, #n>
}
