// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// A round keeps to what its engine can do.

"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 1, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()
"lut.region"() {sym_name = "q.x", address = 0, bytes = 64, kind = "x", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.c", address = 64, bytes = 64, kind = "c", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.q", address = 128, bytes = 64, kind = "q", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.y", address = 192, bytes = 64, kind = "y", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.w", address = 256, bytes = 64, kind = "w", port = 0, source = "q"} : () -> ()
// expected-error@+1 {{'lut.round' op expected 1 entries in 'w' (weight_ports of the engine), got 2; change it}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 4,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 20, x = @q.x, c = @q.c, q = @q.q, y = @q.y, w = [@q.w, @q.w]} : () -> ()

// -----

"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 1, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()
"lut.region"() {sym_name = "q.x", address = 0, bytes = 64, kind = "x", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.c", address = 64, bytes = 64, kind = "c", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.q", address = 128, bytes = 64, kind = "q", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.y", address = 192, bytes = 64, kind = "y", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.w", address = 256, bytes = 64, kind = "w", port = 0, source = "q"} : () -> ()
// expected-error@+1 {{'lut.round' op expected a row_source of the engine, built_row, got 'built_table'; change either}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_table", tokens = 4,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 20, x = @q.x, c = @q.c, q = @q.q, y = @q.y, w = [@q.w]} : () -> ()

// -----

"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 1, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()
"lut.region"() {sym_name = "q.x", address = 0, bytes = 64, kind = "x", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.c", address = 64, bytes = 64, kind = "c", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.q", address = 128, bytes = 64, kind = "q", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.y", address = 192, bytes = 64, kind = "y", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.w", address = 256, bytes = 64, kind = "w", port = 0, source = "q"} : () -> ()
// expected-error@+1 {{'lut.round' op expected tokens <= 4 (tokens of the engine), got 5; split the round or enlarge the engine}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 5,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 20, x = @q.x, c = @q.c, q = @q.q, y = @q.y, w = [@q.w]} : () -> ()

// -----

"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 1, tokens = 4, acc_words = 7, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()
"lut.region"() {sym_name = "q.x", address = 0, bytes = 64, kind = "x", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.c", address = 64, bytes = 64, kind = "c", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.q", address = 128, bytes = 64, kind = "q", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.y", address = 192, bytes = 64, kind = "y", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.w", address = 256, bytes = 64, kind = "w", port = 0, source = "q"} : () -> ()
// expected-error@+1 {{'lut.round' op expected tokens * chunks <= 7 (acc_words of the engine), got 8; split the round or enlarge the engine}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 4,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 20, x = @q.x, c = @q.c, q = @q.q, y = @q.y, w = [@q.w]} : () -> ()

// -----

"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 1, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()
"lut.region"() {sym_name = "q.x", address = 0, bytes = 64, kind = "x", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.c", address = 64, bytes = 64, kind = "c", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.q", address = 128, bytes = 64, kind = "q", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.y", address = 192, bytes = 64, kind = "y", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.w", address = 256, bytes = 64, kind = "w", port = 0, source = "q"} : () -> ()
// expected-error@+1 {{'lut.round' op expected groups = 2 for 4 pairs, 2 at once, got 3; change it}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 4,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 3, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 20, x = @q.x, c = @q.c, q = @q.q, y = @q.y, w = [@q.w]} : () -> ()

// -----

"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 1, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()
"lut.region"() {sym_name = "q.x", address = 0, bytes = 64, kind = "x", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.c", address = 64, bytes = 64, kind = "c", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.q", address = 128, bytes = 64, kind = "q", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.y", address = 192, bytes = 64, kind = "y", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.w", address = 256, bytes = 64, kind = "w", port = 0, source = "q"} : () -> ()
// expected-error@+1 {{'lut.round' op expected block_outputs <= 4 (block_chunks * lanes), got 5; schedule it again}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 4,
    token_offset = 0, outputs = 9, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 5, shift = 20, x = @q.x, c = @q.c, q = @q.q, y = @q.y, w = [@q.w]} : () -> ()
