// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// A machine is kept as it is written; its memories and FIFOs are optional.

// CHECK: "lut.machine"() ({
// CHECK-NEXT: "lut.linear_engine"() {{{.*}}row_sources = ["built_row"]
// CHECK-NEXT: "lut.memory"() {sym_name = "x", words = 128 : i64} : () -> ()
// CHECK-NEXT: "lut.fifo"() {depth = 64 : i64, sym_name = "read_w"} : () -> ()
// CHECK-NEXT: }) {{{.*}}engines = ["linear", "feed", "load", "save"]
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
  "lut.memory"() {sym_name = "x", words = 128} : () -> ()
  "lut.fifo"() {sym_name = "read_w", depth = 64} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()
