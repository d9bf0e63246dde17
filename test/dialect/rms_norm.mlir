// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// The gain is as wide as a group: 8 channels, or 2 groups that share 8.

#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>

ml_program.global private @n.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>

// CHECK-LABEL: func.func @rms_norm(
func.func @rms_norm(%a: tensor<?x8xi32, #r>) -> tensor<?x8xi32, #n> {
  // CHECK: "lut.rms_norm"(%{{.*}}) {epsilon = 40 : i64, gain = @n.gain, groups = 1 : i64, shift = 12 : i64} : (tensor<?x8xi32, #lut.fixed<26 : i64, -16 : i64>>) -> tensor<?x8xi32, #lut.fixed<28 : i64, -20 : i64>>
  %0 = "lut.rms_norm"(%a) {gain = @n.gain, groups = 1, epsilon = 40, shift = 12} : (tensor<?x8xi32, #r>) -> tensor<?x8xi32, #n>
  // CHECK: "lut.rms_norm"(%{{.*}}) {bias = @n.gain, centered, epsilon = 40 : i64, {{.*}}}
  %1 = "lut.rms_norm"(%a) {gain = @n.gain, bias = @n.gain, centered, groups = 1, epsilon = 40, shift = 12} : (tensor<?x8xi32, #r>) -> tensor<?x8xi32, #n>
  // CHECK: "lut.tanh"(%{{.*}}) {multiplier = 30720 : i64, shift = 4 : i64}
  %2 = "lut.tanh"(%1) {multiplier = 30720, shift = 4} : (tensor<?x8xi32, #n>) -> tensor<?x8xi32, #n>
  return %0 : tensor<?x8xi32, #n>
}
