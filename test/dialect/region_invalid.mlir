// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// A range of bytes of a known kind.

// expected-error@+1 {{'lut.region' op expected address in 0..4611686018427387903, got -64; change it}}
"lut.region"() {sym_name = "a", kind = "p", address = -64, bytes = 64} : () -> ()

// -----

// expected-error@+1 {{'lut.region' op expected bytes in 1..4611686018427387903, got 0; change it}}
"lut.region"() {sym_name = "a", kind = "p", address = 0, bytes = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.region' op expected kind to be one of h, d, w, c, q, p, e, k, v, x, y, got "z"; change it}}
"lut.region"() {sym_name = "a", kind = "z", address = 0, bytes = 64} : () -> ()

// -----

func.func @f() {
  // expected-error@+1 {{'lut.region' op expected a 'builtin.module' around it, got 'func.func'; move it to the module}}
  "lut.region"() {sym_name = "a", kind = "p", address = 0, bytes = 64} : () -> ()
  return
}
