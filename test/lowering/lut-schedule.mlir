// A linear alone, in two rounds: the linear of a round is dispatched before the feed of the one before it, so that its
// weights come in time; feeds follow who writes what they read. Tasks that stand there are written anew.
// RUN: lutllm-opt %s --lut-schedule | FileCheck %s
// RUN: lutllm-opt %s --lut-schedule --lut-schedule | FileCheck %s

// CHECK: func.func @prefill
// CHECK: [[X:%.*]] = "lut.cluster"
// CHECK: [[A:%.*]] = "lut.cluster"
// CHECK: }) {{{.*}}label = "a"
// CHECK-NEXT: "lut.task"([[A]]) {engine = "linear", round = 0 : i64} :
// CHECK-NEXT: "lut.task"([[X]]) {engine = "load"} :
// CHECK-NEXT: "lut.task"([[A]]) {engine = "linear", round = 1 : i64} :
// CHECK-NEXT: "lut.task"([[A]]) {engine = "feed", round = 0 : i64} :
// CHECK-NEXT: "lut.task"([[A]]) {engine = "save", round = 0 : i64} :
// CHECK-NEXT: "lut.task"([[A]]) {engine = "feed", round = 1 : i64} :
// CHECK-NEXT: "lut.task"([[A]]) {engine = "save", round = 1 : i64} :
// CHECK-NEXT: return [[A]]

#x = #lut.fixed<16, @a.input.exponents>
#y = #lut.fixed<24, -20>
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 4, codes_depth = 4, row_sources = ["exact_row"], weight_ports
    = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
  "lut.memory"() {sym_name = "x", words = 8} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load", "save"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @a.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.codes(#ml_program.extern : tensor<4x1x16xi8>) : tensor<4x1x16xi8>
ml_program.global private @a.weight_codebook(#ml_program.extern : tensor<4x2x1x16x2xi8>) : tensor<4x2x1x16x2xi8>
ml_program.global private @a.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
ml_program.global private @a.bias(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
"lut.layout"() {sym_name = "c8", channels = 8, unit = 1, unit_size = 1, interleaved = 0, block = 8, pad = 4, repeat = 0} : () -> ()
"lut.layout"() {sym_name = "c16_b8", channels = 16, unit = 1, unit_size = 1, interleaved = 0, block = 8, pad = 8, repeat = 0} : () -> ()
"lut.round"() {sym_name = "a.0", first = 0, outputs = 8, c = @a.c, q = @a.0.q, w = [@a.0.w0]} : () -> ()
"lut.round"() {sym_name = "a.8", first = 8, outputs = 8, c = @a.c, q = @a.8.q, w = [@a.8.w0]} : () -> ()
"lut.buffer"() {sym_name = "x0", memory = "x", base = 0, words = 2, size = 8} : () -> ()
"lut.region"() {sym_name = "header", kind = "h", address = 0, bytes = 80} : () -> ()
"lut.region"() {sym_name = "x.x", kind = "x", address = 4096, bytes = 2048} : () -> ()
"lut.region"() {sym_name = "a.y", kind = "y", address = 8192, bytes = 8192} : () -> ()
"lut.region"() {sym_name = "a.c", kind = "c", address = 16384, bytes = 8} : () -> ()
"lut.region"() {sym_name = "a.0.q", kind = "q", address = 20480, bytes = 64} : () -> ()
"lut.region"() {sym_name = "a.0.w0", kind = "w", address = 24576, bytes = 144} : () -> ()
"lut.region"() {sym_name = "a.8.q", kind = "q", address = 28672, bytes = 64} : () -> ()
"lut.region"() {sym_name = "a.8.w0", kind = "w", address = 32768, bytes = 144} : () -> ()
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x16xi32, #y> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"], layout = @c8, buffer = @x0, region = @x.x} : () -> tensor<?x8xi16, #x>
  %1 = "lut.cluster"() ({
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x2x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x2x1x16xi32>) -> tensor<?x4x16xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x16xi32>) -> tensor<?x16xi32>
    %l = "lut.requantize"(%k) {weights = @a, shift = 20} : (tensor<?x16xi32>) -> tensor<?x16xi32, #y>
    "lut.yield"(%l) : (tensor<?x16xi32, #y>) -> ()
  }) {label = "a", engines = ["feed", "linear", "save"], layout = @c16_b8, region = @a.y, rounds = [@a.0, @a.8]} : () -> tensor<?x16xi32, #y>
  return %1 : tensor<?x16xi32, #y>
}
