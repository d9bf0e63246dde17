// RUN: lutllm-opt %s --lut-size-streams --split-input-file --verify-diagnostics
// A depth that stands in the machine must be proven to be enough.

// expected-error@+1 {{'lut.machine' op stream read_w: expected a depth of at least 16 words, what must be there at once, got 8: a deadlock; enlarge it}}
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 4, row_sources = ["exact_row"],
    weight_ports = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
  "lut.fifo"() {sym_name = "read_w", depth = 8} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load", "save"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

// expected-error@+1 {{'lut.machine' op stream read_w: expected a multiple of 16 words, a burst, got 120}}
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 4, row_sources = ["exact_row"],
    weight_ports = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
  "lut.fifo"() {sym_name = "read_w", depth = 120} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load", "save"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

// expected-error@+1 {{'lut.machine' op stream read_w: expected a depth of at least 96 words for 1 a cycle, got 32: it would stall; enlarge it}}
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 4, row_sources = ["exact_row"],
    weight_ports = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
  "lut.fifo"() {sym_name = "read_w", depth = 32} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load", "save"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

// expected-error@+1 {{'lut.machine' op accelerator: expected depths of read_d, read_p, read_c, read_q, read_w, read_e, read_k, read_v, read_x, write_kv, responses, write_y, y_responses, p_commands, p_orders, y_orders, x, codebooks, results, roots, kv, rows, e, n, got one of read_z}}
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 4, row_sources = ["exact_row"],
    weight_ports = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
  "lut.fifo"() {sym_name = "read_z", depth = 32} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load", "save"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()

// -----

// expected-error@+1 {{'builtin.module' op expected a lut.machine in it, got none; run lut-place}}
module {}

// -----

"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 4, row_sources = ["exact_row"],
    weight_ports = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load", "save"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()
// expected-error@+1 {{'lut.machine' op expected one of it in the module, got another; remove one}}
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 4, row_sources = ["exact_row"],
    weight_ports = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
}) {sym_name = "other", engines = ["linear", "feed", "load", "save"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()
