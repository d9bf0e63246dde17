// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// A round names an engine and regions of the right kind.

"lut.region"() {sym_name = "q.x", address = 0, bytes = 64, kind = "x", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.c", address = 64, bytes = 64, kind = "c", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.q", address = 128, bytes = 64, kind = "q", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.y", address = 192, bytes = 64, kind = "y", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.w", address = 256, bytes = 64, kind = "w", port = 0, source = "q"} : () -> ()
// expected-error@+1 {{'lut.round' op expected a 'lut.engine' named @engine for 'engine', got none; add it to the module}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 4,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 20, x = @q.x, c = @q.c, q = @q.q, y = @q.y, w = [@q.w]} : () -> ()

// -----

"lut.region"() {sym_name = "q.x", address = 0, bytes = 64, kind = "x", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.c", address = 64, bytes = 64, kind = "c", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.q", address = 128, bytes = 64, kind = "q", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.y", address = 192, bytes = 64, kind = "y", port = 0, source = "q"} : () -> ()
"lut.region"() {sym_name = "q.w", address = 256, bytes = 64, kind = "w", port = 0, source = "q"} : () -> ()
// expected-error@+1 {{'lut.round' op expected a 'lut.engine' named @q.x for 'engine', got a 'lut.region'; name the right op}}
"lut.round"() {sym_name = "q.0", engine = @q.x, linear = "q", row_source = "built_row", tokens = 4,
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
// expected-error@+1 {{'lut.round' op expected a 'lut.region' named @q.z for 'x', got none; add it to the module}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 4,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 20, x = @q.z, c = @q.c, q = @q.q, y = @q.y, w = [@q.w]} : () -> ()

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
// expected-error@+1 {{'lut.round' op expected region @q.y for 'w' to be of kind 'w', got 'y'; name another region}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 4,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 20, x = @q.x, c = @q.c, q = @q.q, y = @q.y, w = [@q.y]} : () -> ()

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
// expected-error@+1 {{'lut.round' op expected region @q.y for 'x' to be of kind 'x', got 'y'; name another region}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 4,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 20, x = @q.y, c = @q.c, q = @q.q, y = @q.y, w = [@q.w]} : () -> ()
