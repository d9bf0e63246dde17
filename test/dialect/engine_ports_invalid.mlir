// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Every port has a width the bus allows.

// expected-error@+1 {{'lut.engine' op expected port_bits with exactly the ports w, x, c, q, y, got c, q, x, y; change it}}
"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 1, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 1, port_bits = {x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()

// -----

// expected-error@+1 {{'lut.engine' op expected port_bits of w to be an i64 power of two in 8..1024, got 48 : i64; change it}}
"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 1, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 1, port_bits = {w = 48, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()

// -----

// expected-error@+1 {{'lut.engine' op expected port_bits of w to be an i64 power of two in 8..1024, got "64"; change it}}
"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 1, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 1, port_bits = {w = "64", x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()
