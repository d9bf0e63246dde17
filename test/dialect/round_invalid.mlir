// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Ranges and names of a round.

// expected-error@+1 {{'lut.round' op expected tokens in 1..2147483647, got 0; change it}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 0,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 20, x = @q.x, c = @q.c, q = @q.q, y = @q.y, w = [@q.w]} : () -> ()

// -----

// expected-error@+1 {{'lut.round' op expected shift in 0..47, got 48; change it}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 4,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 48, x = @q.x, c = @q.c, q = @q.q, y = @q.y, w = [@q.w]} : () -> ()

// -----

// expected-error@+1 {{'lut.round' op expected row_source to be one of stored_table, built_table, built_row, exact_row, got 'best'; change it}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "best", tokens = 4,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 20, x = @q.x, c = @q.c, q = @q.q, y = @q.y, w = [@q.w]} : () -> ()

// -----

// expected-error@+1 {{'lut.round' op requires attribute 'c' (a symbol @name): got none; add it}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 4,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 20, x = @q.x, q = @q.q, y = @q.y, w = [@q.w]} : () -> ()

// -----

// expected-error@+1 {{'lut.round' op expected chunks in 2..2 for 2 blocks of 1, got 3; schedule the round again}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 4,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 3,
    block_chunks = 1, block_outputs = 4, shift = 20, x = @q.x, c = @q.c, q = @q.q, y = @q.y, w = [@q.w]} : () -> ()

// -----

// expected-error@+1 {{'lut.round' op expected w to be an array of symbols, [@name, ...], got []; change it}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 4,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 20, x = @q.x, c = @q.c, q = @q.q, y = @q.y, w = []} : () -> ()

// -----

// expected-error@+1 {{'lut.round' op expected w to be an array of symbols, [@name, ...], got [3]; change it}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 4,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 20, x = @q.x, c = @q.c, q = @q.q, y = @q.y, w = [3]} : () -> ()

// -----

// expected-error@+1 {{'lut.round' op expected outputs in 5..8 for 2 blocks of 4, got 9; schedule the round again}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 4,
    token_offset = 0, outputs = 9, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 20, x = @q.x, c = @q.c, q = @q.q, y = @q.y, w = [@q.w]} : () -> ()

// -----

// expected-error@+1 {{'lut.round' op expected both x and y, or none of them, got x; add the other}}
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 4,
    token_offset = 0, outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2,
    block_chunks = 1, block_outputs = 4, shift = 20, x = @q.x, c = @q.c, q = @q.q, w = [@q.w]} : () -> ()
