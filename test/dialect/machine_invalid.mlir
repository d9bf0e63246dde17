// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Sizes and engines of a machine, and what stands in it.

// expected-error@+1 {{'lut.machine' op expected latency in 1..65536, got 0; change it}}
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 0, memory_bytes = 16777216} : () -> ()

// -----

// expected-error@+1 {{'lut.machine' op expected engines among linear, feed, norm, residual, store, swiglu, heads, attention, embed, pick, load, save, in this order, got tensor; change them}}
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()

    }) {sym_name = "machine", engines = ["tensor"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

// expected-error@+1 {{'lut.machine' op expected engines among linear, feed, norm, residual, store, swiglu, heads, attention, embed, pick, load, save, in this order, got linear, linear; change them}}
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear",
    "linear"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

// expected-error@+1 {{'lut.machine' op expected one 'lut.linear_engine', and 'lut.memory', 'lut.fifo' and at most one 'lut.clocks' ops, in it, got lut.memory; change its region}}
"lut.machine"() ({
  "lut.memory"() {sym_name = "x", words = 128} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

// expected-error@+1 {{'lut.machine' op expected one 'lut.linear_engine', and 'lut.memory', 'lut.fifo' and at most one 'lut.clocks' ops, in it, got lut.linear_engine, lut.region; change its region}}
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
  "lut.region"() {sym_name = "a", kind = "p", address = 0, bytes = 64} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

// expected-error@+1 {{'lut.machine' op expected each memory and each FIFO once, got lut.memory "x" again; remove one}}
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
  "lut.memory"() {sym_name = "x", words = 128} : () -> ()
  "lut.memory"() {sym_name = "x", words = 64} : () -> ()
  "lut.fifo"() {sym_name = "x", depth = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

func.func @f() {
// expected-error@+1 {{'lut.machine' op expected a 'builtin.module' around it, got 'func.func'; move it to the module}}
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()
  return
}
