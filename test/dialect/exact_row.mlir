// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// Rows from the activations themselves.

"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, c_w = 16, G = 4, R = 2, S = 0, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>

ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<4x2x2x16x2xi8>) : tensor<4x2x2x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>

// CHECK-LABEL: func.func @exact_row
func.func @exact_row(%x: tensor<?x8xi16, #x>) -> tensor<?x4x2x2x16xi32> {
  // CHECK: "lut.exact_row"(%{{.*}}) {scheme = @exact, weights = @q} : {{.*}} -> tensor<?x4x2x2x16xi32>
  %0 = "lut.exact_row"(%x) {scheme = @exact, weights = @q} : (tensor<?x8xi16, #x>) -> tensor<?x4x2x2x16xi32>
  return %0 : tensor<?x4x2x2x16xi32>
}
