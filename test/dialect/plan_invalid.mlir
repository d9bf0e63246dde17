// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Sizes of an accelerator, of its plan and of its buffers.

// expected-error@+1 {{'lut.accelerator' op expected head_words in 1..255, got 0; change it}}
"lut.accelerator"() {sym_name = "accelerator", engine = @engine, head_lanes = 8, context = 64, r_words = 48,
    x_words = 128, y_words = 128, q_words = 32, score_words = 256, item_words = 16, head_words = 0, watchdog = 1048576} : () -> ()

// -----

// expected-error@+1 {{'lut.accelerator' op expected head_lanes in 4..128, got 2; change it}}
"lut.accelerator"() {sym_name = "accelerator", engine = @engine, head_lanes = 2, context = 64, r_words = 48,
    x_words = 128, y_words = 128, q_words = 32, score_words = 256, item_words = 16, head_words = 4, watchdog = 1048576} : () -> ()

// -----

// expected-error@+1 {{'lut.plan' op expected context in 1..1048576, got 0; change it}}
"lut.plan"() {sym_name = "plan", accelerator = @a, context = 0, vocabulary = 320, decoder = ""} : () -> ()

// -----

// expected-error@+1 {{'lut.plan' op expected vocabulary in 1..2147483647, got 0; change it}}
"lut.plan"() {sym_name = "plan", accelerator = @a, context = 64, vocabulary = 0, decoder = ""} : () -> ()

// -----

// expected-error@+1 {{'lut.buffer' op expected memory to be one of r, x, y, q, got "z"; change it}}
"lut.buffer"() {sym_name = "x.a", memory = "z", base = 0, words = 12, size = 48} : () -> ()

// -----

// expected-error@+1 {{'lut.buffer' op expected base in 0..2147483647, got -1; change it}}
"lut.buffer"() {sym_name = "x.a", memory = "x", base = -1, words = 12, size = 48} : () -> ()

// -----

// expected-error@+1 {{'lut.buffer' op expected words in 1..2147483647, got 0; change it}}
"lut.buffer"() {sym_name = "x.a", memory = "x", base = 0, words = 0, size = 48} : () -> ()

// -----

// expected-error@+1 {{'lut.buffer' op expected size in 12..2147483647, got 11; change it}}
"lut.buffer"() {sym_name = "x.a", memory = "x", base = 0, words = 12, size = 11} : () -> ()
