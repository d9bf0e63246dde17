// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// Rows from tables in memory.

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()

ml_program.global private @q.tables(#ml_program.extern : tensor<4x2x2x1x16x16xi8>) : tensor<4x2x2x1x16x16xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>

// CHECK-LABEL: func.func @stored_table
func.func @stored_table(%i: tensor<?x4x1xi8>) -> tensor<?x4x2x2x16xi32> {
  // CHECK: "lut.stored_table"(%{{.*}}) {scheme = @vq, weights = @q} : (tensor<?x4x1xi8>) -> tensor<?x4x2x2x16xi32>
  %0 = "lut.stored_table"(%i) {scheme = @vq, weights = @q} : (tensor<?x4x1xi8>) -> tensor<?x4x2x2x16xi32>
  return %0 : tensor<?x4x2x2x16xi32>
}
