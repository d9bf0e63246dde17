// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// More than 256 centroids: indices in i16. Two stages.

"lut.scheme"() {sym_name = "wide", kind = "vq", v = 2, c_a = 300, c_w = 16, G = 4, R = 2, S = 2, metric = "l2", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
#x = #lut.fixed<16, @q.input.exponents>

ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @q.input.codebook(#ml_program.extern : tensor<4x2x300x2xi16>) : tensor<4x2x300x2xi16>

// CHECK-LABEL: func.func @f
func.func @f(%x: tensor<?x8xi16, #x>) -> tensor<?x4x2xi16> {
  // CHECK: "lut.centroid_search"{{.*}}scheme = @wide{{.*}} -> tensor<?x4x2xi16>
  %0 = "lut.centroid_search"(%x) {scheme = @wide, codebook = @q.input.codebook}
      : (tensor<?x8xi16, #x>) -> tensor<?x4x2xi16>
  return %0 : tensor<?x4x2xi16>
}
