// What `weights` stands for is used by the ops that read it, and by no other; a scheme goes with the last op that names it.
// RUN: lutllm-opt %s --lut-symbol-dce | FileCheck %s

// CHECK-NOT: sym_name = "exact"
// CHECK: sym_name = "vq"
// CHECK-NOT: sym_name = "exact"
// CHECK: ml_program.global private @q.codes
// CHECK-NOT: ml_program.global private @q.tables
// CHECK-NOT: ml_program.global private @q.bias
// CHECK: func.func @f
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, c_w = 16, G = 4, R = 2, S = 0, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
"lut.scheme"() {sym_name = "exact_2", kind = "exact", v = 2, c_a = 0, c_w = 16, G = 8, R = 2, S = 0, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @q.codes(#ml_program.extern : tensor<4x2x6xi8>) : tensor<4x2x6xi8>
ml_program.global private @q.tables(#ml_program.extern : tensor<4x2x2x1x16x16xi8>) : tensor<4x2x2x1x16x16xi8>
ml_program.global private @q.bias(#ml_program.extern : tensor<6xi32>) : tensor<6xi32>
ml_program.global private @q.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<4x2x2x16x2xi8>) : tensor<4x2x2x16x2xi8>
ml_program.global private @x.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
func.func @f(%rows: tensor<?x4x2x2x16xi32>, %x: tensor<?x8xi16, #lut.fixed<16, @x.exponents>>) -> tensor<?x4x6xi32> {
  %dead = "lut.exact_row"(%x) {scheme = @exact, weights = @q} : (tensor<?x8xi16, #lut.fixed<16, @x.exponents>>) -> tensor<?x4x2x2x16xi32>
  %0 = "lut.table_lookup"(%rows) {scheme = @vq, weights = @q} : (tensor<?x4x2x2x16xi32>) -> tensor<?x4x6xi32>
  return %0 : tensor<?x4x6xi32>
}
