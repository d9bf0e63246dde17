// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// Only the rows in use.

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()

ml_program.global private @q.input.codebook(#ml_program.extern : tensor<4x1x16x2xi16>) : tensor<4x1x16x2xi16>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<4x2x2x16x2xi8>) : tensor<4x2x2x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>

// CHECK-LABEL: func.func @built_row
func.func @built_row(%i: tensor<?x4x1xi8>) -> tensor<?x4x2x2x16xi32> {
  // CHECK: "lut.built_row"(%{{.*}}) {codebook = @q.input.codebook, scheme = @vq, weights = @q} : (tensor<?x4x1xi8>) -> tensor<?x4x2x2x16xi32>
  %0 = "lut.built_row"(%i) {scheme = @vq, codebook = @q.input.codebook, weights = @q} : (tensor<?x4x1xi8>) -> tensor<?x4x2x2x16xi32>
  return %0 : tensor<?x4x2x2x16xi32>
}
