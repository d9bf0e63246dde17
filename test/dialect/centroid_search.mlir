// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// One index a pair and stage.

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>

ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @q.input.codebook(#ml_program.extern : tensor<4x1x16x2xi16>) : tensor<4x1x16x2xi16>

// CHECK-LABEL: func.func @centroid_search
func.func @centroid_search(%x: tensor<?x8xi16, #x>) -> tensor<?x4x1xi8> {
  // CHECK: "lut.centroid_search"(%{{.*}}) {codebook = @q.input.codebook, scheme = @vq} : {{.*}} -> tensor<?x4x1xi8>
  %0 = "lut.centroid_search"(%x) {scheme = @vq, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi8>
  return %0 : tensor<?x4x1xi8>
}
