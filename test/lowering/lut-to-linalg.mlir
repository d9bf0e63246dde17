// Quantizer, linear and dequantizer on integers; terms are never whole, and nothing of lut is left but `lut.store`.
// RUN: lutllm-opt %s --lut-to-linalg --canonicalize --cse | FileCheck %s

"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 4, R = 2, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @q.codes(#ml_program.extern : tensor<4x2x6xi8>) : tensor<4x2x6xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<4x2x2x16x2xi8>) : tensor<4x2x2x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<6xi32>) : tensor<6xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<6xi32>) : tensor<6xi32>

// CHECK: affine_map<(d0, d1, d2, d3) -> (d2, d3, d1)>
// CHECK-NOT: lut.scheme
// CHECK-LABEL: func.func @main(%arg0: tensor<?x8xf32>) -> tensor<?x6xf32> {
// CHECK: [[UNIT:%.*]] = arith.constant 1.562500e-02 : f32
// CHECK: [[E:%.*]] = ml_program.global_load_const @q.input.exponents : tensor<4xi8>
// CHECK: linalg.generic {{.*}} ins(%arg0 : tensor<?x8xf32>) outs({{.*}} : tensor<?x8xi16>)
// CHECK: arith.bitcast {{.*}} : f32 to i32
// CHECK: tensor.extract [[E]]
// CHECK: tensor.expand_shape {{.*}} : tensor<?x8xi16> into tensor<?x4x2xi16>
// CHECK: [[ROWS:%.*]] = linalg.generic {{.*}} outs({{.*}} : tensor<?x4x2x2x16xi32>)
// CHECK: [[CODES:%.*]] = ml_program.global_load_const @q.codes : tensor<4x2x6xi8>
// CHECK: [[SUM:%.*]] = linalg.generic {{{.*}} iterator_types = ["parallel", "parallel", "reduction", "reduction"]} ins([[CODES]] : tensor<4x2x6xi8>)
// CHECK: arith.index_castui {{.*}} : i8 to index
// CHECK: tensor.extract [[ROWS]]
// CHECK: linalg.generic {{.*}} ins([[SUM]], {{.*}} : tensor<?x6xi32>, tensor<6xi32>, tensor<6xi32>)
// CHECK: arith.sitofp {{.*}} : i32 to f32
// CHECK-NEXT: arith.mulf {{.*}}, [[UNIT]] : f32
func.func @main(%x: tensor<?x8xf32>) -> tensor<?x6xf32> {
  %0 = "lut.quantize"(%x) : (tensor<?x8xf32>) -> tensor<?x8xi16, #lut.fixed<16, @q.input.exponents>>
  %1 = "lut.linear"(%0) {scheme = @exact, weights = @q, shift = 20}
    : (tensor<?x8xi16, #lut.fixed<16, @q.input.exponents>>) -> tensor<?x6xi32, #lut.fixed<24, -6>>
  %2 = "lut.dequantize"(%1) : (tensor<?x6xi32, #lut.fixed<24, -6>>) -> tensor<?x6xf32>
  return %2 : tensor<?x6xf32>
}
