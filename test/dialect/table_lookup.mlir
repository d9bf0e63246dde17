// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// Two blocks of outputs, the second one short.

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()

ml_program.global private @q.codes(#ml_program.extern : tensor<4x2x6xi8>) : tensor<4x2x6xi8>

// CHECK-LABEL: func.func @table_lookup
func.func @table_lookup(%r: tensor<?x4x2x2x16xi32>) -> tensor<?x4x6xi32> {
  // CHECK: "lut.table_lookup"(%{{.*}}) {scheme = @vq, weights = @q} : (tensor<?x4x2x2x16xi32>) -> tensor<?x4x6xi32>
  %0 = "lut.table_lookup"(%r) {scheme = @vq, weights = @q} : (tensor<?x4x2x2x16xi32>) -> tensor<?x4x6xi32>
  return %0 : tensor<?x4x6xi32>
}
