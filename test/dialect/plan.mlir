// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// A whole accelerator: a plan, buffers on chip, a round without regions of activations, and two tasks.

"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()
// CHECK: "lut.accelerator"() {{{.*}}engine = @engine
"lut.accelerator"() {sym_name = "accelerator", engine = @engine, head_lanes = 8, context = 64, r_words = 48,
    x_words = 128, y_words = 128, q_words = 32, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576} : () -> ()
// CHECK: "lut.plan"() {{{.*}}accelerator = @accelerator
"lut.plan"() {sym_name = "plan", accelerator = @accelerator, context = 64, vocabulary = 320, decoder = "5eed"} : () -> ()
"lut.region"() {sym_name = "header", address = 0, bytes = 88, kind = "h", port = 0, source = ""} : () -> ()
"lut.region"() {sym_name = "q.c", address = 96, bytes = 32, kind = "c", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.q", address = 128, bytes = 64, kind = "q", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "norm.p", address = 192, bytes = 192, kind = "p", port = 0, source = "norm"} : () -> ()
"lut.region"() {sym_name = "q.w", address = 384, bytes = 64, kind = "w", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "a.k", address = 448, bytes = 64, kind = "k", port = 0, source = "a"} : () -> ()
"lut.region"() {sym_name = "e", address = 512, bytes = 64, kind = "e", port = 0, source = "e"} : () -> ()
// CHECK: "lut.buffer"() {{{.*}}memory = "x"
"lut.buffer"() {sym_name = "x.hidden", memory = "x", base = 0, words = 12, size = 48} : () -> ()
"lut.buffer"() {sym_name = "r.stream", memory = "r", base = 0, words = 12, size = 48} : () -> ()
"lut.buffer"() {sym_name = "y.key", memory = "y", base = 0, words = 2, size = 8} : () -> ()
// CHECK: "lut.round"() {
// CHECK-NOT: x = @
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 4,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 20, c = @q.c, q = @q.q, w = [@q.w]} : () -> ()
// CHECK: "lut.task"() {{{.*}}parameters = @norm.p{{.*}}waits = {residual = 0 : i64}
"lut.task"() {sym_name = "prefill.norm", program = "prefill", engine = "norm", source = "norm",
    fields = {base = 0, words = 12, shift = 20, bits = 16, last = 0, epsilon = 1}, reads = [@r.stream],
    writes = [@x.hidden], waits = {residual = 0}, single = 0, per_token = 0, parameters = @norm.p, beats = 12,
    offset = 0, stride = 0} : () -> ()
// CHECK: "lut.task"() {{{.*}}round = @q.0
"lut.task"() {sym_name = "prefill.q.feed", program = "prefill", engine = "feed", source = "q",
    fields = {base = 0, groups = 2}, reads = [@x.hidden], writes = [], waits = {norm = 0}, single = 0,
    per_token = 0, round = @q.0} : () -> ()
"lut.task"() {sym_name = "prefill.key", program = "prefill", engine = "heads", source = "a", fields = {},
    reads = [@y.key], writes = [@a.k], waits = {}, single = 0, per_token = 0} : () -> ()
