// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// Integers with one exponent back to floats.

#y = #lut.fixed<24, -6>

// CHECK-LABEL: func.func @dequantize
func.func @dequantize(%y: tensor<?x6xi32, #y>) -> tensor<?x6xf32> {
  // CHECK: "lut.dequantize"(%{{.*}}) : (tensor<?x6xi32, #lut.fixed<24 : i64, -6 : i64>>) -> tensor<?x6xf32>
  %0 = "lut.dequantize"(%y) : (tensor<?x6xi32, #y>) -> tensor<?x6xf32>
  return %0 : tensor<?x6xf32>
}
