// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// Two linears in, the input of the next out.

#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>
#x = #lut.fixed<16, @q.input.exponents>

ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>

// CHECK-LABEL: func.func @swiglu(
func.func @swiglu(%a: tensor<?x8xi32, #r>, %b: tensor<?x8xi32, #n>) -> tensor<?x8xi16, #x> {
  // CHECK: "lut.swiglu"(%{{.*}}, %{{.*}}) : (tensor<?x8xi32, #lut.fixed<26 : i64, -16 : i64>>, tensor<?x8xi32, #lut.fixed<28 : i64, -20 : i64>>) -> tensor<?x8xi16, #lut.fixed<16 : i64, @q.input.exponents>>
  %0 = "lut.swiglu"(%a, %b) : (tensor<?x8xi32, #r>, tensor<?x8xi32, #n>) -> tensor<?x8xi16, #x>
  // CHECK: "lut.swiglu"(%{{.*}}) {activation = "relu"} : (tensor<?x8xi32, #lut.fixed<26 : i64, -16 : i64>>) -> tensor<?x8xi16
  %1 = "lut.swiglu"(%a) {activation = "relu"} : (tensor<?x8xi32, #r>) -> tensor<?x8xi16, #x>
  return %0 : tensor<?x8xi16, #x>
}
