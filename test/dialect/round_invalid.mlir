// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Outputs of a round, and the regions of its weights.

// expected-error@+1 {{'lut.round' op expected first in 0..2147483647, got -1; change it}}
"lut.round"() {sym_name = "q.0", first = -1, outputs = 64, c = @q.c, q = @q.q, w = [@q.w]} : () -> ()

// -----

// expected-error@+1 {{'lut.round' op expected outputs in 1..2147483647, got 0; change it}}
"lut.round"() {sym_name = "q.0", first = 0, outputs = 0, c = @q.c, q = @q.q, w = [@q.w]} : () -> ()

// -----

// expected-error@+1 {{'lut.round' op expected w to be an array of symbols, [@name, ...], got []; change it}}
"lut.round"() {sym_name = "q.0", first = 0, outputs = 64, c = @q.c, q = @q.q, w = []} : () -> ()

// -----

// expected-error@+1 {{'lut.round' op expected w to be an array of symbols, [@name, ...], got [@q.w, 3]; change it}}
"lut.round"() {sym_name = "q.0", first = 0, outputs = 64, c = @q.c, q = @q.q, w = [@q.w, 3]} : () -> ()

// -----

func.func @f() {
  // expected-error@+1 {{'lut.round' op expected a 'builtin.module' around it, got 'func.func'; move it to the module}}
  "lut.round"() {sym_name = "q.0", first = 0, outputs = 64, c = @q.c, q = @q.q, w = [@q.w]} : () -> ()
  return
}
