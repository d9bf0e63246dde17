// RUN: lutllm-opt %s --pass-pipeline='builtin.module(canonicalize,cse)' | FileCheck %s
// Tensor ops are pure: equal ones are merged and unused ones removed.

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()

ml_program.global private @q.tables(#ml_program.extern : tensor<4x2x2x1x16x16xi8>) : tensor<4x2x2x1x16x16xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>

// CHECK-LABEL: func.func @pure
func.func @pure(%i: tensor<?x4x1xi8>) -> (tensor<?x4x2x2x16xi32>, tensor<?x4x2x2x16xi32>) {
  // CHECK-COUNT-1: "lut.stored_table"
  // CHECK-NOT: "lut.stored_table"
  %0 = "lut.stored_table"(%i) {scheme = @vq, weights = @q} : (tensor<?x4x1xi8>) -> tensor<?x4x2x2x16xi32>
  %1 = "lut.stored_table"(%i) {scheme = @vq, weights = @q} : (tensor<?x4x1xi8>) -> tensor<?x4x2x2x16xi32>
  return %0, %1 : tensor<?x4x2x2x16xi32>, tensor<?x4x2x2x16xi32>
}
