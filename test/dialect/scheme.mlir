// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// A scheme stands in the module, before or after the ops that name it; an op names the one of its own module.

// CHECK: "lut.scheme"() {G = 4 : i64, R = 2 : i64, S = 1 : i64, act_bits = 16 : i64, c_a = 16 : i64, c_w = 16 : i64, kind = "vq", metric = "chebyshev", out_bits = 24 : i64, sym_name = "vq", table_bits = 8 : i64, term_bits = 24 : i64, v = 2 : i64, weight_bits = 8 : i64, x_bits = 16 : i64} : () -> ()
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @q.input.codebook(#ml_program.extern : tensor<4x1x16x2xi16>) : tensor<4x1x16x2xi16>
ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  %0 = "lut.centroid_search"(%x) {scheme = @vq, codebook = @q.input.codebook} : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi8>
  return
}
module {
  func.func @g(%x: tensor<?x4x1x1x16xi32>) {
    // CHECK: "lut.table_lookup"(%{{.*}}) {scheme = @vq, weights = @k}
    %0 = "lut.table_lookup"(%x) {scheme = @vq, weights = @k} : (tensor<?x4x1x1x16xi32>) -> tensor<?x4x6xi32>
    return
  }
  "lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 8, R = 1, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
}
ml_program.global private @k.codes(#ml_program.extern : tensor<4x1x6xi8>) : tensor<4x1x6xi8>
