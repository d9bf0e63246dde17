// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Memories, FIFOs and clocks of a machine.

"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
  // expected-error@+1 {{'lut.memory' op expected sym_name to be one of r, x, y, q, got "z"; change it}}
  "lut.memory"() {sym_name = "z", words = 128} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
  // expected-error@+1 {{'lut.memory' op expected words in 1..65536, got 65537; change it}}
  "lut.memory"() {sym_name = "x", words = 65537} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
  // expected-error@+1 {{'lut.fifo' op expected depth in 1..65536, got 0; change it}}
  "lut.fifo"() {sym_name = "read_w", depth = 0} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

// expected-error@+1 {{'lut.memory' op expected a 'lut.machine' around it, got 'builtin.module'; move it to the machine}}
"lut.memory"() {sym_name = "x", words = 128} : () -> ()

// -----

// expected-error@+1 {{'lut.fifo' op expected a 'lut.machine' around it, got 'builtin.module'; move it to the machine}}
"lut.fifo"() {sym_name = "read_w", depth = 64} : () -> ()

// -----

"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, bias_bits = 32,
      out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64, row_sources = ["built_row"],
      weight_ports = 1, port_bits = {w = 64, c = 64, q = 64}, burst_beats = 16,
      outstanding = 4} : () -> ()
  // expected-error@+1 {{'lut.clocks' op expected memory_mhz above core_mhz = 250, got 250; one clock needs no lut.clocks}}
  "lut.clocks"() {core_mhz = 250, memory_mhz = 250, bus_bits = 256} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load",
    "save"], head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

// expected-error@+1 {{'lut.clocks' op expected a 'lut.machine' around it, got 'builtin.module'; move it to the machine}}
"lut.clocks"() {core_mhz = 250, memory_mhz = 400, bus_bits = 256} : () -> ()
