// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// Floats to 16-bit integers, one exponent a pair of channels.

#x = #lut.fixed<16, @q.input.exponents>

ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>

// CHECK-LABEL: func.func @quantize
func.func @quantize(%x: tensor<?x8xf32>) -> tensor<?x8xi16, #x> {
  // CHECK: "lut.quantize"(%{{.*}}) : (tensor<?x8xf32>) -> tensor<?x8xi16, #lut.fixed<16 : i64, @q.input.exponents>>
  %0 = "lut.quantize"(%x) : (tensor<?x8xf32>) -> tensor<?x8xi16, #x>
  return %0 : tensor<?x8xi16, #x>
}
