// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// The last token, and the largest of its logits.

#r = #lut.fixed<26, -16>
#y = #lut.fixed<24, -6>

// CHECK-LABEL: func.func @last_token(
func.func @last_token(%a: tensor<?x8xi32, #r>) -> tensor<1x8xi32, #r> {
  // CHECK: "lut.last_token"(%{{.*}}) : (tensor<?x8xi32, #lut.fixed<26 : i64, -16 : i64>>) -> tensor<1x8xi32, #lut.fixed<26 : i64, -16 : i64>>
  %0 = "lut.last_token"(%a) : (tensor<?x8xi32, #r>) -> tensor<1x8xi32, #r>
  return %0 : tensor<1x8xi32, #r>
}

// CHECK-LABEL: func.func @argmax(
func.func @argmax(%a: tensor<1x6xi32, #y>) -> tensor<1xi32> {
  // CHECK: "lut.argmax"(%{{.*}}) : (tensor<1x6xi32, #lut.fixed<24 : i64, -6 : i64>>) -> tensor<1xi32>
  %0 = "lut.argmax"(%a) : (tensor<1x6xi32, #y>) -> tensor<1xi32>
  return %0 : tensor<1xi32>
}
