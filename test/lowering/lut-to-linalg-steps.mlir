// Steps one by one: the search keeps distance and index in one number, so that no order of finding it matters; terms
// that several ops read are whole; signatures lose their encodings.
// RUN: lutllm-opt %s --lut-to-linalg --canonicalize --cse | FileCheck %s

#x = #lut.fixed<16, @q.input.exponents>
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 300, S = 2, c_w = 16, G = 4, R = 2, metric = "l2",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @q.input.codebook(#ml_program.extern : tensor<4x2x300x2xi16>) : tensor<4x2x300x2xi16>
ml_program.global private @q.codes(#ml_program.extern : tensor<4x2x6xi8>) : tensor<4x2x6xi8>

// CHECK-LABEL: func.func @search(%arg0: tensor<2x?x8xi16>) -> tensor<2x?x4x2xi16>
// CHECK: [[FIRST:%.*]] = linalg.generic {{.*}} outs({{.*}} : tensor<2x?x4xi64>)
// CHECK: arith.muli
// CHECK: arith.minsi
// CHECK: linalg.generic {{.*}} ins({{.*}}, [[FIRST]] : tensor<2x?x4xi16>, tensor<2x?x4xi64>) outs({{.*}} : tensor<2x?x4xi32>)
// CHECK: linalg.generic {{.*}} outs({{.*}} : tensor<2x?x4x2xi16>)
func.func @search(%x: tensor<2x?x8xi16, #x>) -> tensor<2x?x4x2xi16> {
  %0 = "lut.centroid_search"(%x) {scheme = @vq, codebook = @q.input.codebook}
    : (tensor<2x?x8xi16, #x>) -> tensor<2x?x4x2xi16>
  return %0 : tensor<2x?x4x2xi16>
}

// CHECK-LABEL: func.func @sums(
// CHECK: [[TERMS:%.*]] = linalg.generic {{.*}} outs({{.*}} : tensor<?x4x6xi32>)
// CHECK: [[SUM:%.*]] = linalg.generic {{.*}} ins([[TERMS]] : tensor<?x4x6xi32>)
// CHECK: linalg.generic {{.*}} ins([[TERMS]] : tensor<?x4x6xi32>) outs([[SUM]] : tensor<?x6xi32>)
func.func @sums(%rows: tensor<?x4x2x2x16xi32>) -> tensor<?x6xi32> {
  %0 = "lut.table_lookup"(%rows) {scheme = @vq, weights = @q} : (tensor<?x4x2x2x16xi32>) -> tensor<?x4x6xi32>
  %1 = "lut.prefix_sum"(%0) : (tensor<?x4x6xi32>) -> tensor<?x6xi32>
  %2 = "lut.prefix_sum"(%0, %1) : (tensor<?x4x6xi32>, tensor<?x6xi32>) -> tensor<?x6xi32>
  return %2 : tensor<?x6xi32>
}

// CHECK-LABEL: func.func private @declared(tensor<?x8xi16>)
func.func private @declared(tensor<?x8xi16, #x>)
