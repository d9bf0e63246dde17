// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Engines, fields and waits of a task.

// expected-error@+1 {{'lut.task' op expected program to be one of prefill, decode, head, got "train"; change it}}
"lut.task"() {sym_name = "t", program = "train", engine = "norm", source = "m", fields = {base = 0},
    reads = [], writes = [], waits = {}, single = 0, per_token = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.task' op expected engine to be one of linear, feed, norm, residual, store, swiglu, heads, attention, embed, pick, load, save, got "tensor"; change it}}
"lut.task"() {sym_name = "t", program = "prefill", engine = "tensor", source = "m", fields = {base = 0},
    reads = [], writes = [], waits = {}, single = 0, per_token = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.task' op expected single in 0..1, got 2; change it}}
"lut.task"() {sym_name = "t", program = "prefill", engine = "norm", source = "m", fields = {base = 0},
    reads = [], writes = [], waits = {}, single = 2, per_token = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.task' op expected reads to be an array of symbols, [@name, ...], got [3]; change it}}
"lut.task"() {sym_name = "t", program = "prefill", engine = "norm", source = "m", fields = {base = 0},
    reads = [3], writes = [], waits = {}, single = 0, per_token = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.task' op expected writes to be an array of symbols, [@name, ...], got ["x"]; change it}}
"lut.task"() {sym_name = "t", program = "prefill", engine = "norm", source = "m", fields = {base = 0},
    reads = [], writes = ["x"], waits = {}, single = 0, per_token = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.task' op expected field base to be an i64 integer from 0 on, got -1 : i64; change it}}
"lut.task"() {sym_name = "t", program = "prefill", engine = "norm", source = "m", fields = {base = -1},
    reads = [], writes = [], waits = {}, single = 0, per_token = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.task' op expected waits for engines among linear, feed, norm, residual, store, swiglu, heads, attention, embed, pick, load, save, got dram; change it}}
"lut.task"() {sym_name = "t", program = "prefill", engine = "norm", source = "m", fields = {base = 0},
    reads = [], writes = [], waits = {dram = 0}, single = 0, per_token = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.task' op expected at most 0..14 tasks of heads pending, as an i64, got 15 : i64; change it}}
"lut.task"() {sym_name = "t", program = "prefill", engine = "norm", source = "m", fields = {base = 0},
    reads = [], writes = [], waits = {heads = 15}, single = 0, per_token = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.task' op expected at most 4 waits, got 5; change the order of tasks}}
"lut.task"() {sym_name = "t", program = "prefill", engine = "norm", source = "m", fields = {base = 0},
    reads = [], writes = [], waits = {heads = 0, feed = 0, norm = 0, pick = 0, store = 0}, single = 0, per_token = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.task' op expected parameters, beats, offset, stride or none of them, got parameters, beats; add the others}}
"lut.task"() {sym_name = "t", program = "prefill", engine = "norm", source = "m", fields = {base = 0},
    reads = [], writes = [], waits = {}, single = 0, per_token = 0, parameters = @p, beats = 3} : () -> ()

// -----

// expected-error@+1 {{'lut.task' op expected beats in 1..4611686018427387903, got 0; change it}}
"lut.task"() {sym_name = "t", program = "prefill", engine = "norm", source = "m", fields = {base = 0},
    reads = [], writes = [], waits = {}, single = 0, per_token = 0, parameters = @p, beats = 0,
    offset = 0, stride = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.task' op expected attribute 'round' to be a symbol @name, got "x"; change it}}
"lut.task"() {sym_name = "t", program = "prefill", engine = "norm", source = "m", fields = {base = 0},
    reads = [], writes = [], waits = {}, single = 0, per_token = 0, round = "x"} : () -> ()

// -----

// expected-error@+1 {{'lut.task' op expected a round of a feed, got none; add it}}
"lut.task"() {sym_name = "t", program = "prefill", engine = "feed", source = "m", fields = {base = 0},
    reads = [], writes = [], waits = {}, single = 0, per_token = 0} : () -> ()
