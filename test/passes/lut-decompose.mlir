// A linear becomes search, rows, lookup, sum and requantizer; location and encoding stay, the row source is chosen by
// the option, by the op, or by the scheme, in this order.
// RUN: lutllm-opt %s --lut-decompose --mlir-print-debuginfo | FileCheck %s
// RUN: lutllm-opt %s --lut-decompose="row-source=stored_table" | FileCheck %s --check-prefix=STORED
// RUN: lutllm-opt %s --pass-pipeline="builtin.module(func.func(lut-decompose{row-source=built_row}))" | FileCheck %s --check-prefix=ROW
// RUN: lutllm-opt %s --lut-decompose --lut-decompose --mlir-print-debuginfo | FileCheck %s

// CHECK-LABEL: func.func @of_vq
// CHECK-NEXT: [[I:%.*]] = "lut.centroid_search"(%arg0) {codebook = @x.codebook, scheme = @vq} : {{.*}} -> tensor<?x2x1xi8> loc([[L:#.*]])
// CHECK-NEXT: [[R:%.*]] = "lut.built_table"([[I]]) {codebook = @x.codebook, scheme = @vq, weights = @q} : {{.*}} -> tensor<?x2x2x2x16xi32> loc([[L]])
// CHECK-NEXT: [[T:%.*]] = "lut.table_lookup"([[R]]) {scheme = @vq, weights = @q} : {{.*}} -> tensor<?x2x5xi32> loc([[L]])
// CHECK-NEXT: [[A:%.*]] = "lut.prefix_sum"([[T]]) : (tensor<?x2x5xi32>) -> tensor<?x5xi32> loc([[L]])
// CHECK-NEXT: [[Y:%.*]] = "lut.requantize"([[A]]) {shift = 20 : i64, weights = @q} : {{.*}} -> tensor<?x5xi32, #lut.fixed<24 : i64, -9 : i64>> loc([[L]])
// CHECK-NEXT: return [[Y]]
// CHECK-LABEL: func.func @of_exact
// CHECK-NEXT: "lut.exact_row"(%arg0) {scheme = @exact, weights = @q}
// CHECK-NEXT: "lut.table_lookup"
// CHECK: [[L]] = loc("layers.0.q_proj"(
// STORED-LABEL: func.func @of_vq
// STORED: "lut.stored_table"({{.*}}) {scheme = @vq, weights = @q}
// STORED-LABEL: func.func @of_exact
// STORED: "lut.exact_row"
// ROW-LABEL: func.func @of_vq
// ROW: "lut.built_row"
#x = #lut.fixed<16, @x.exponents>
#y = #lut.fixed<24, -9>
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 4, c_w = 16, G = 3, R = 2, S = 1, metric = "l2", x_bits = 16, act_bits = 16,
  weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, c_w = 16, G = 3, R = 2, S = 0, metric = "l2", x_bits = 16,
  act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.exponents(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
ml_program.global private @x.codebook(#ml_program.extern : tensor<2x1x4x2xi16>) : tensor<2x1x4x2xi16>
ml_program.global private @q.codes(#ml_program.extern : tensor<2x2x5xi8>) : tensor<2x2x5xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<2x2x2x16x2xi8>) : tensor<2x2x2x16x2xi8>
ml_program.global private @q.tables(#ml_program.extern : tensor<2x2x2x1x4x16xi8>) : tensor<2x2x2x1x4x16xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<2x2xi8>) : tensor<2x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<5xi32>) : tensor<5xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<5xi32>) : tensor<5xi32>

func.func @of_vq(%x: tensor<?x4xi16, #x>) -> tensor<?x5xi32, #y> {
  %0 = "lut.linear"(%x) {scheme = @vq, weights = @q, shift = 20, codebook = @x.codebook, tables,
    row_source = "built_table"} : (tensor<?x4xi16, #x>) -> tensor<?x5xi32, #y> loc("layers.0.q_proj"("model.py":12:3))
  return %0 : tensor<?x5xi32, #y>
}

func.func @of_exact(%x: tensor<?x4xi16, #x>) -> tensor<?x5xi32, #y> {
  %0 = "lut.linear"(%x) {scheme = @exact, weights = @q, shift = 20} : (tensor<?x4xi16, #x>) -> tensor<?x5xi32, #y>
  return %0 : tensor<?x5xi32, #y>
}
