// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// What is split up is split evenly; an engine stands in the module.

// expected-error@+1 {{'lut.engine' op expected chains to divide centroids = 16, got 3; change either}}
"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 3, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 1, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()

// -----

// expected-error@+1 {{'lut.engine' op expected requant_lanes to divide lanes = 4, got 3; change either}}
"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 3, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()

// -----

// expected-error@+1 {{'lut.engine' op expected weight_ports to divide pairs = 2, got 4; change either}}
"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 1, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 4, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()

// -----

func.func @f() {
  // expected-error@+1 {{'lut.engine' op expected a 'builtin.module' around it, got a 'func.func'; move it to the module}}
  "lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 1, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()
  return
}

// -----

func.func @f() {
  // expected-error@+1 {{'lut.round' op expected a 'builtin.module' around it, got a 'func.func'; move it to the module}}
  "lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 4,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 20, x = @q.x, c = @q.c, q = @q.q, y = @q.y, w = [@q.w]} : () -> ()
  return
}

// -----

func.func @f() {
  // expected-error@+1 {{'lut.region' op expected a 'builtin.module' around it, got a 'func.func'; move it to the module}}
  "lut.region"() {sym_name = "q.x", address = 0, bytes = 64, kind = "x", port = 0, source = "q"} : () -> ()
  return
}
