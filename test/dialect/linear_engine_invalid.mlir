// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Sizes, search, row sources and ports of LutLinear.

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected lanes in 1..4096, got 0; change it}}
  "lut.linear_engine"() {pairs = 2, lanes = 0, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected metric to be one of chebyshev, l2, got "l1"; change it}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "l1",
      row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected row_sources among stored_table, built_table, built_row, exact_row, got best; change them}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["best"],
      weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected row_sources among stored_table, built_table, built_row, exact_row, got none; change them}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = [],
      weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected chains to divide centroids = 16, got 3; change either}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 3, act_stages = 1, metric = "chebyshev",
      row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected requant_lanes to divide lanes = 4, got 3; change either}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32,
      out_bits = 24, requant_lanes = 3, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected weight_ports to divide pairs = 2, got 4; change either}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 4, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected port_bits with exactly the ports w, x, c, q, y, got c, q, x, y; change it}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {x = 64, c = 64, q = 64, y = 64}, burst_beats = 16, outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected port_bits of w to be an i64 power of two in 8..1024, got 48 : i64; change it}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 48, x = 64, c = 64, q = 64, y = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  // expected-error@+1 {{'lut.linear_engine' op expected port_bits of w to be an i64 power of two in 8..1024, got "64"; change it}}
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = "64", x = 64, c = 64, q = 64, y = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

// expected-error@+1 {{'lut.linear_engine' op expected a 'lut.machine' around it, got 'builtin.module'; move it to the machine}}
"lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
    row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32,
    out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
    weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64}, burst_beats = 16,
    outstanding = 4} : () -> ()
