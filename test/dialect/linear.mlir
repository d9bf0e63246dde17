// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// A whole linear; its row source is still to be chosen.

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>
#y = #lut.fixed<24, -6>

ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @q.input.codebook(#ml_program.extern : tensor<4x1x16x2xi16>) : tensor<4x1x16x2xi16>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<4x2x2x16x2xi8>) : tensor<4x2x2x16x2xi8>
ml_program.global private @q.codes(#ml_program.extern : tensor<4x2x6xi8>) : tensor<4x2x6xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<6xi32>) : tensor<6xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<6xi32>) : tensor<6xi32>

// CHECK-LABEL: func.func @linear
func.func @linear(%x: tensor<?x8xi16, #x>) -> tensor<?x6xi32, #y> {
  // CHECK: "lut.linear"(%{{.*}}) {codebook = @q.input.codebook, scheme = @vq, shift = 20 : i64, weights = @q} : {{.*}} -> tensor<?x6xi32, #lut.fixed<24 : i64, -6 : i64>>
  %0 = "lut.linear"(%x) {scheme = @vq, weights = @q, shift = 20, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x6xi32, #y>
  return %0 : tensor<?x6xi32, #y>
}
