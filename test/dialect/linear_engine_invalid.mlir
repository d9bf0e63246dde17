// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Sizes, search, row sources and ports of LutLinear.

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected lanes in 4..4096, got 0; change it}}
  "lut.linear_engine"() {pairs = 2, lanes = 0, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected row_entries = 16, got 8; change it}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 8, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected burst_beats to be a power of two, got 12; change it}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 12,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected metric to be one of chebyshev, l2, got l1; change it}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "l1",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected row_sources among stored_table, built_table, built_row, exact_row, got best; change them}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["best"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected row_sources among stored_table, built_table, built_row, exact_row, got none; change them}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = [],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected chains to divide centroids = 16, got 3; change either}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 3, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected row_writes to be a power of two, got 3; change it}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 3, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected sum_chains to divide pairs = 2, got 3; change either}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 3, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected requant_lanes to divide lanes = 12, got 8; change either}}
  "lut.linear_engine"() {pairs = 2, lanes = 12, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 8, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected weight_ports to divide pairs = 2, got 4; change either}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 4, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected tokens of at most acc_words = 3, got 4; change either}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 3, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected table_bits of at most term_bits = 20, got 24; change either}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 24, term_bits = 20, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected 2 * pairs = 6 and requant_lanes to divide each other, got 4; change either}}
  "lut.linear_engine"() {pairs = 3, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected port_bits of w, c, q, got c, q; change them}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected port_bits of w among 32, 64, 128, 256, 512, 1024, got 48; change it}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 48, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected head_lanes to be a multiple of requant_lanes = 16, got 8; change either}}
  "lut.linear_engine"() {pairs = 2, lanes = 16, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 16, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected head_words to be a multiple of 2, a beat of head_lanes, got 3; change it}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 3, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected kv_bits in 32..64, of requant_lanes to head_lanes channels, got 128; change it}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 128, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

// expected-error@+1 {{'lut.linear_engine' op expected a 'lut.machine' around it, got 'builtin.module'; move it to the machine}}
"lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
    row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
    out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
    weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
    outstanding = 4} : () -> ()
