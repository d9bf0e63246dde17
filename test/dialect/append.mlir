// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// A cache of 16 rows takes any number of new ones.

#k = #lut.fixed<8, @a.key.exponents>

ml_program.global private @a.key.exponents(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>

// CHECK-LABEL: func.func @append(
func.func @append(%a: tensor<16x4xi8, #k>, %b: tensor<?x4xi8, #k>, %c: tensor<1xi32>) -> tensor<16x4xi8, #k> {
  // CHECK: "lut.append"(%{{.*}}, %{{.*}}, %{{.*}}) : (tensor<16x4xi8, #lut.fixed<8 : i64, @a.key.exponents>>, tensor<?x4xi8, #lut.fixed<8 : i64, @a.key.exponents>>, tensor<1xi32>) -> tensor<16x4xi8, #lut.fixed<8 : i64, @a.key.exponents>>
  %0 = "lut.append"(%a, %b, %c) : (tensor<16x4xi8, #k>, tensor<?x4xi8, #k>, tensor<1xi32>) -> tensor<16x4xi8, #k>
  return %0 : tensor<16x4xi8, #k>
}
