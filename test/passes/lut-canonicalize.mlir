// Attributes the result does not depend on go, so that cse sees equal linears; what a source reads stays.
// RUN: lutllm-opt %s --lut-canonicalize | FileCheck %s
// RUN: lutllm-opt %s --lut-canonicalize --cse --lut-symbol-dce | FileCheck %s --check-prefix=MERGED

// CHECK-LABEL: func.func @unread_tables
// CHECK-COUNT-2: "lut.linear"({{.*}}row_source = "built_row"
// CHECK-LABEL: func.func @open_choice
// CHECK: "lut.linear"({{.*}}tables, weights = @q}
// CHECK-LABEL: func.func @one_choice
// CHECK: "lut.linear"
// CHECK-NOT: row_source
// CHECK-LABEL: func.func @dead
// CHECK-NEXT: return
// MERGED-LABEL: func.func @unread_tables
// MERGED-COUNT-1: "lut.linear"
// MERGED-NEXT: return %0, %0
#x = #lut.fixed<16, @x.exponents>
#y = #lut.fixed<24, -9>
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 4, c_w = 16, G = 8, R = 1, S = 1, metric = "l2", x_bits = 16, act_bits = 16,
  weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, c_w = 16, G = 8, R = 1, S = 0, metric = "l2", x_bits = 16,
  act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.exponents(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
ml_program.global private @x.codebook(#ml_program.extern : tensor<2x1x4x2xi16>) : tensor<2x1x4x2xi16>
ml_program.global private @q.codes(#ml_program.extern : tensor<2x1x5xi8>) : tensor<2x1x5xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<2x1x1x16x2xi8>) : tensor<2x1x1x16x2xi8>
ml_program.global private @q.tables(#ml_program.extern : tensor<2x1x1x1x4x16xi8>) : tensor<2x1x1x1x4x16xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<2x2xi8>) : tensor<2x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<5xi32>) : tensor<5xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<5xi32>) : tensor<5xi32>

func.func @unread_tables(%x: tensor<?x4xi16, #x>) -> (tensor<?x5xi32, #y>, tensor<?x5xi32, #y>) {
  %0 = "lut.linear"(%x) {scheme = @vq, weights = @q, shift = 20, codebook = @x.codebook, tables,
    row_source = "built_row"} : (tensor<?x4xi16, #x>) -> tensor<?x5xi32, #y>
  %1 = "lut.linear"(%x) {scheme = @vq, weights = @q, shift = 20, codebook = @x.codebook, row_source = "built_row"}
    : (tensor<?x4xi16, #x>) -> tensor<?x5xi32, #y>
  return %0, %1 : tensor<?x5xi32, #y>, tensor<?x5xi32, #y>
}

func.func @open_choice(%x: tensor<?x4xi16, #x>) -> tensor<?x5xi32, #y> {
  %0 = "lut.linear"(%x) {scheme = @vq, weights = @q, shift = 20, codebook = @x.codebook, tables}
    : (tensor<?x4xi16, #x>) -> tensor<?x5xi32, #y>
  return %0 : tensor<?x5xi32, #y>
}

func.func @one_choice(%x: tensor<?x4xi16, #x>) -> tensor<?x5xi32, #y> {
  %0 = "lut.linear"(%x) {scheme = @exact, weights = @q, shift = 20, row_source = "exact_row"}
    : (tensor<?x4xi16, #x>) -> tensor<?x5xi32, #y>
  return %0 : tensor<?x5xi32, #y>
}

func.func @dead(%x: tensor<?x4xf32>) {
  %0 = "lut.quantize"(%x) : (tensor<?x4xf32>) -> tensor<?x4xi16, #x>
  %1 = "lut.centroid_search"(%0) {scheme = @vq, codebook = @x.codebook} : (tensor<?x4xi16, #x>) -> tensor<?x2x1xi8>
  return
}
