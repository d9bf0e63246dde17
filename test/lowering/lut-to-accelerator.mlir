// Decomposed linears become one engine, a memory map and rounds: six tokens are two steps on an engine of four, which
// share centroids, weights and requantizer parameters. Locations stay; functions and globals go.
// RUN: lutllm-opt %s --lut-decompose --lut-to-accelerator="target=tiny tokens=6" --mlir-print-debuginfo | FileCheck %s
// RUN: lutllm-opt %s --lut-decompose --lut-to-accelerator="target=tiny tokens=6" | lutllm-opt | FileCheck %s --check-prefix=PARSES
// RUN: lutllm-opt %s --lut-decompose --lut-to-accelerator="target=tiny tokens=2" | FileCheck %s --check-prefix=ONE
// RUN: lutllm-opt %s --lut-decompose --lut-to-accelerator | FileCheck %s --check-prefix=SMALL

// CHECK-NOT: ml_program.global
// CHECK: "lut.engine"() {{{.*}}act_stages = 1 : i64, {{.*}}centroids = 16 : i64, {{.*}}lanes = 8 : i64, metric = "l2", {{.*}}pairs = 2 : i64, {{.*}}row_sources = ["exact_row", "built_row", "built_table", "stored_table"]
// CHECK-NEXT: "lut.region"() {address = 0 : i64, bytes = 64 : i64, kind = "x", port = 0 : i64, source = "q", sym_name = "q.0.x"} : () -> () loc([[Q:#.*]])
// CHECK-NEXT: "lut.region"() {address = 4096 : i64, bytes = 288 : i64, kind = "c", {{.*}}sym_name = "q.c"}
// CHECK-NEXT: "lut.region"() {address = 8192 : i64, bytes = 192 : i64, kind = "q", {{.*}}sym_name = "q.0.q"}
// CHECK-NEXT: "lut.region"() {address = 12288 : i64, bytes = 384 : i64, kind = "y", {{.*}}sym_name = "q.0.0.y"}
// CHECK-NEXT: "lut.region"() {address = 16384 : i64, bytes = 304 : i64, kind = "w", {{.*}}sym_name = "q.0.w0"}
// CHECK-NEXT: "lut.region"() {address = 20480 : i64, bytes = 32 : i64, kind = "x", {{.*}}sym_name = "q.4.x"}
// CHECK-NEXT: "lut.region"() {address = 24576 : i64, bytes = 192 : i64, kind = "y", {{.*}}sym_name = "q.4.0.y"}
// CHECK: "lut.region"() {{{.*}}kind = "d", port = 0 : i64, source = "", sym_name = "program"}
// CHECK-NEXT: "lut.round"() {block_chunks = 2 : i64, block_outputs = 16 : i64, blocks = 2 : i64, c = @q.c, chunks = 3 : i64, engine = @engine, groups = 2 : i64, linear = "q", output_offset = 0 : i64, outputs = 20 : i64, pairs = 3 : i64, q = @q.0.q, row_source = "built_row", shift = 20 : i64, stages = 1 : i64, sym_name = "q.0.0", token_offset = 0 : i64, tokens = 4 : i64, w = [@q.0.w0], x = @q.0.x, y = @q.0.0.y} : () -> () loc([[Q]])
// CHECK-NEXT: "lut.round"() {{{.*}}sym_name = "q.4.0", token_offset = 4 : i64, tokens = 2 : i64, w = [@q.0.w0], x = @q.4.x, y = @q.4.0.y} : () -> () loc([[Q]])
// CHECK-NEXT: "lut.round"() {{{.*}}linear = "k", {{.*}}row_source = "exact_row", {{.*}}sym_name = "k.0.0", {{.*}}tokens = 3 : i64
// CHECK-NOT: "lut.
// CHECK-NOT: func.func
// CHECK: [[Q]] = loc("layers.0.q_proj"(
// PARSES-COUNT-3: "lut.round"
// ONE-COUNT-2: "lut.round"
// ONE-NOT: "lut.round"
// SMALL: "lut.engine"() {{{.*}}centroids = 16 : i64, {{.*}}lanes = 64 : i64, {{.*}}pairs = 4 : i64
// SMALL: "lut.round"() {{{.*}}linear = "q", {{.*}}tokens = 16 : i64
#x = #lut.fixed<16, @x.exponents>
#y = #lut.fixed<24, -9>
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 15, c_w = 16, G = 16, R = 1, S = 1, metric = "l2", x_bits = 16,
  act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, c_w = 4, G = 8, R = 2, S = 0, metric = "chebyshev", x_bits = 16,
  act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.exponents(#ml_program.extern : tensor<3xi8>) : tensor<3xi8>
ml_program.global private @x.codebook(#ml_program.extern : tensor<3x1x15x2xi16>) : tensor<3x1x15x2xi16>
ml_program.global private @q.codes(#ml_program.extern : tensor<3x1x20xi8>) : tensor<3x1x20xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<3x2x1x16x2xi8>) : tensor<3x2x1x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<3x2xi8>) : tensor<3x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @k.codes(#ml_program.extern : tensor<3x2x5xi8>) : tensor<3x2x5xi8>
ml_program.global private @k.weight_codebook(#ml_program.extern : tensor<3x1x2x4x2xi8>) : tensor<3x1x2x4x2xi8>
ml_program.global private @k.shifts(#ml_program.extern : tensor<3x2xi8>) : tensor<3x2xi8>
ml_program.global private @k.multiplier(#ml_program.extern : tensor<5xi32>) : tensor<5xi32>
ml_program.global private @k.bias(#ml_program.extern : tensor<5xi32>) : tensor<5xi32>

func.func @q(%x: tensor<?x6xi16, #x>) -> tensor<?x20xi32, #y> {
  %0 = "lut.linear"(%x) {scheme = @vq, weights = @q, shift = 20, codebook = @x.codebook}
    : (tensor<?x6xi16, #x>) -> tensor<?x20xi32, #y> loc("layers.0.q_proj"("model.py":12:3))
  return %0 : tensor<?x20xi32, #y>
}

func.func @k(%x: tensor<1x3x6xi16, #x>) -> tensor<1x3x5xi32, #y> {
  %0 = "lut.linear"(%x) {scheme = @exact, weights = @k, shift = 3} : (tensor<1x3x6xi16, #x>) -> tensor<1x3x5xi32, #y>
  return %0 : tensor<1x3x5xi32, #y>
}
