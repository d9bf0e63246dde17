// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// Two exponents become a third.

#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>

// CHECK-LABEL: func.func @add(
func.func @add(%a: tensor<?x8xi32, #r>, %b: tensor<?x8xi32, #n>) -> tensor<?x8xi32, #r> {
  // CHECK: "lut.add"(%{{.*}}, %{{.*}}) : (tensor<?x8xi32, #lut.fixed<26 : i64, -16 : i64>>, tensor<?x8xi32, #lut.fixed<28 : i64, -20 : i64>>) -> tensor<?x8xi32, #lut.fixed<26 : i64, -16 : i64>>
  %0 = "lut.add"(%a, %b) : (tensor<?x8xi32, #r>, tensor<?x8xi32, #n>) -> tensor<?x8xi32, #r>
  return %0 : tensor<?x8xi32, #r>
}
