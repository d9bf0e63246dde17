// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// A chain: the second sum goes on from the first. No operandSegmentSizes is needed.

// CHECK-LABEL: func.func @prefix_sum
func.func @prefix_sum(%a: tensor<2x?x4x6xi32>, %b: tensor<2x?x3x6xi32>) -> tensor<2x?x6xi32> {
  // CHECK: %[[FIRST:.*]] = "lut.prefix_sum"(%arg0) : (tensor<2x?x4x6xi32>) -> tensor<2x?x6xi32>
  %0 = "lut.prefix_sum"(%a) : (tensor<2x?x4x6xi32>) -> tensor<2x?x6xi32>
  // CHECK: "lut.prefix_sum"(%arg1, %[[FIRST]]) : (tensor<2x?x3x6xi32>, tensor<2x?x6xi32>) -> tensor<2x?x6xi32>
  %1 = "lut.prefix_sum"(%b, %0) : (tensor<2x?x3x6xi32>, tensor<2x?x6xi32>) -> tensor<2x?x6xi32>
  return %1 : tensor<2x?x6xi32>
}
