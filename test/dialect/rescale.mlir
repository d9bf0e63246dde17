// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// One exponent becomes one for each pair: i8 where the bits fit, else i16.

#n = #lut.fixed<28, -20>
#x = #lut.fixed<16, @q.input.exponents>

ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>

// CHECK-LABEL: func.func @rescale(
func.func @rescale(%a: tensor<?x8xi32, #n>) -> tensor<?x8xi16, #x> {
  // CHECK: "lut.rescale"(%{{.*}}) : (tensor<?x8xi32, #lut.fixed<28 : i64, -20 : i64>>) -> tensor<?x8xi16, #lut.fixed<16 : i64, @q.input.exponents>>
  %0 = "lut.rescale"(%a) : (tensor<?x8xi32, #n>) -> tensor<?x8xi16, #x>
  return %0 : tensor<?x8xi16, #x>
}
