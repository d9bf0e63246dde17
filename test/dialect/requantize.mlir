// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// The accumulator brought to the exponent of the output.

#y = #lut.fixed<24, -6>

ml_program.global private @q.multiplier(#ml_program.extern : tensor<6xi32>) : tensor<6xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<6xi32>) : tensor<6xi32>

// CHECK-LABEL: func.func @requantize
func.func @requantize(%a: tensor<?x6xi32>) -> tensor<?x6xi32, #y> {
  // CHECK: "lut.requantize"(%{{.*}}) {shift = 20 : i64, weights = @q} : (tensor<?x6xi32>) -> tensor<?x6xi32, #lut.fixed<24 : i64, -6 : i64>>
  %0 = "lut.requantize"(%a) {weights = @q, shift = 20} : (tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return %0 : tensor<?x6xi32, #y>
}
