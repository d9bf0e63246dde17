// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// What the ops of a plan name must be there, and be what they need.

// expected-error@+1 {{'lut.accelerator' op expected a 'lut.engine' named @engine for 'engine', got none; add it to the module}}
"lut.accelerator"() {sym_name = "accelerator", engine = @engine, head_lanes = 8, context = 64, r_words = 48,
    x_words = 128, y_words = 128, q_words = 32, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576} : () -> ()

// -----

// expected-error@+1 {{'lut.plan' op expected a 'lut.accelerator' named @a for 'accelerator', got none; add it to the module}}
"lut.plan"() {sym_name = "plan", accelerator = @a, context = 64, vocabulary = 320, decoder = ""} : () -> ()

// -----

"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()
"lut.accelerator"() {sym_name = "accelerator", engine = @engine, head_lanes = 8, context = 64, r_words = 48,
    x_words = 128, y_words = 128, q_words = 32, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576} : () -> ()
// expected-error@+1 {{'lut.plan' op expected context <= 64 (context of the accelerator), got 65; plan for a shorter context}}
"lut.plan"() {sym_name = "plan", accelerator = @accelerator, context = 65, vocabulary = 320, decoder = ""} : () -> ()

// -----

// expected-error@+1 {{'lut.task' op expected a 'lut.buffer' or a KV cache named @x for 'reads', got none; name another}}
"lut.task"() {sym_name = "t", program = "prefill", engine = "norm", source = "m", fields = {base = 0},
    reads = [@x], writes = [], waits = {}, single = 0, per_token = 0} : () -> ()

// -----

"lut.region"() {sym_name = "x", address = 0, bytes = 88, kind = "p", port = 0, source = ""} : () -> ()
// expected-error@+1 {{'lut.task' op expected a 'lut.buffer' or a KV cache named @x for 'writes', got a 'lut.region'; name another}}
"lut.task"() {sym_name = "t", program = "prefill", engine = "norm", source = "m", fields = {base = 0},
    reads = [], writes = [@x], waits = {}, single = 0, per_token = 0} : () -> ()

// -----

"lut.region"() {sym_name = "x", address = 0, bytes = 88, kind = "k", port = 0, source = ""} : () -> ()
// expected-error@+1 {{'lut.task' op expected region @x for 'parameters' to be of kind 'p', got 'k'; name another region}}
"lut.task"() {sym_name = "t", program = "prefill", engine = "norm", source = "m", fields = {base = 0},
    reads = [], writes = [], waits = {}, single = 0, per_token = 0, parameters = @x, beats = 3,
    offset = 0, stride = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.task' op expected a 'lut.round' named @q.0 for 'round', got none; add it to the module}}
"lut.task"() {sym_name = "t", program = "prefill", engine = "feed", source = "m", fields = {base = 0},
    reads = [], writes = [], waits = {}, single = 0, per_token = 0, round = @q.0} : () -> ()
