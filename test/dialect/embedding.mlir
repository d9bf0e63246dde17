// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// A row for each token; the vocabulary gives the shape of the rows.

#r = #lut.fixed<26, -16>

ml_program.global private @e.rows(#ml_program.extern : tensor<32x8xi8>) : tensor<32x8xi8>
ml_program.global private @e.multiplier(#ml_program.extern : tensor<32xi32>) : tensor<32xi32>

// CHECK-LABEL: func.func @embedding(
func.func @embedding(%a: tensor<?xi32>) -> tensor<?x8xi32, #r> {
  // CHECK: "lut.embedding"(%{{.*}}) {multiplier = @e.multiplier, rows = @e.rows, shift = 10 : i64, vocabulary = 32 : i64} : (tensor<?xi32>) -> tensor<?x8xi32, #lut.fixed<26 : i64, -16 : i64>>
  %0 = "lut.embedding"(%a) {rows = @e.rows, multiplier = @e.multiplier, shift = 10, vocabulary = 32} : (tensor<?xi32>) -> tensor<?x8xi32, #r>
  return %0 : tensor<?x8xi32, #r>
}

// With a position, rows are those of the tokens' positions.
// CHECK-LABEL: func.func @positions(
func.func @positions(%a: tensor<?xi32>, %p: tensor<1xi32>) -> tensor<?x8xi32, #r> {
  // CHECK: "lut.embedding"(%{{.*}}, %{{.*}}) {multiplier = @e.multiplier, offset = 2 : i64, rows = @e.rows, shift = 10 : i64, vocabulary = 32 : i64} : (tensor<?xi32>, tensor<1xi32>) -> tensor<?x8xi32, #lut.fixed<26 : i64, -16 : i64>>
  %0 = "lut.embedding"(%a, %p) {rows = @e.rows, multiplier = @e.multiplier, shift = 10, vocabulary = 32, offset = 2} : (tensor<?xi32>, tensor<1xi32>) -> tensor<?x8xi32, #r>
  return %0 : tensor<?x8xi32, #r>
}
