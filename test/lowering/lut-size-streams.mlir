// Every FIFO gets the depth that hides memory's latency, of whole bursts where it is read from memory; one that stands there
// keeps its depth. LutLinear's own codes are sized with them.
// RUN: lutllm-opt %s --lut-size-streams | FileCheck %s

// CHECK: "lut.machine"() ({
// CHECK-NEXT: "lut.linear_engine"() {{{.*}}codes_depth = 7 : i64
// CHECK-NEXT: "lut.fifo"() {depth = 128 : i64, sym_name = "read_w"}
// CHECK-NEXT: "lut.fifo"() {depth = 4 : i64, sym_name = "codebooks"}
// CHECK-NEXT: "lut.fifo"() {depth = 32 : i64, sym_name = "read_c"}
// CHECK-NEXT: "lut.fifo"() {depth = 96 : i64, sym_name = "read_d"}
// CHECK-NEXT: "lut.fifo"() {depth = 96 : i64, sym_name = "read_q"}
// CHECK-NEXT: "lut.fifo"() {depth = 96 : i64, sym_name = "read_x"}
// CHECK: })

"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 4, row_sources = ["exact_row"],
    weight_ports = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
  "lut.fifo"() {sym_name = "read_w", depth = 128} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load", "save"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()
