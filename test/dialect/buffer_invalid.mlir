// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// A range of words of a known memory.

// expected-error@+1 {{'lut.buffer' op expected base in 0..2147483647, got -1; change it}}
"lut.buffer"() {sym_name = "a", memory = "x", base = -1, words = 12, size = 48} : () -> ()

// -----

// expected-error@+1 {{'lut.buffer' op expected words in 1..2147483647, got 0; change it}}
"lut.buffer"() {sym_name = "a", memory = "x", base = 0, words = 0, size = 48} : () -> ()

// -----

// expected-error@+1 {{'lut.buffer' op expected size in 12..2147483647, got 11; change it}}
"lut.buffer"() {sym_name = "a", memory = "x", base = 0, words = 12, size = 11} : () -> ()

// -----

// expected-error@+1 {{'lut.buffer' op expected memory to be one of r, x, y, q, got "k"; change it}}
"lut.buffer"() {sym_name = "a", memory = "k", base = 0, words = 12, size = 48} : () -> ()

// -----

func.func @f() {
  // expected-error@+1 {{'lut.buffer' op expected a 'builtin.module' around it, got 'func.func'; move it to the module}}
  "lut.buffer"() {sym_name = "a", memory = "x", base = 0, words = 12, size = 48} : () -> ()
  return
}
