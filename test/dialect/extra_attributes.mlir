// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// Attributes the dialect does not know are kept.

#y = #lut.fixed<24, -6>

// CHECK-LABEL: func.func @extra
func.func @extra(%y: tensor<?x6xi32, #y>) -> tensor<?x6xf32> {
  // CHECK: "lut.dequantize"(%{{.*}}) {note = "mine"}
  %0 = "lut.dequantize"(%y) {note = "mine"} : (tensor<?x6xi32, #y>) -> tensor<?x6xf32>
  return %0 : tensor<?x6xf32>
}
