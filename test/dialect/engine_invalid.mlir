// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Sizes, search, row sources and ports of an engine.

// expected-error@+1 {{'lut.engine' op expected lanes in 1..4096, got 0; change it}}
"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 0, centroids = 16, chains = 1, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 1, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()

// -----

// expected-error@+1 {{'lut.engine' op expected metric to be one of chebyshev, l2, got "l1"; change it}}
"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1,
    metric = "l1", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 1, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()

// -----

// expected-error@+1 {{'lut.engine' op expected row_sources among stored_table, built_table, built_row, exact_row, got best; change them}}
"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 1, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["best"], weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()

// -----

// expected-error@+1 {{'lut.engine' op expected row_sources among stored_table, built_table, built_row, exact_row, got none; change them}}
"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 1, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = [], weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()

// -----

// expected-error@+1 {{'lut.engine' op expected chains in 1..1024, got 0; change it}}
"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 0, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 1, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()
