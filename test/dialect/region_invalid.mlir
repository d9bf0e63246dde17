// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// A range of bytes of a known kind.

// expected-error@+1 {{'lut.region' op expected kind to be one of w, x, c, q, y, d, p, e, k, v, h, got "z"; change it}}
"lut.region"() {sym_name = "q.x", address = 0, bytes = 64, kind = "z", port = 0, source = "q"} : () -> ()

// -----

// expected-error@+1 {{'lut.region' op expected address in 0..4611686018427387903, got -64; change it}}
"lut.region"() {sym_name = "q.x", address = -64, bytes = 64, kind = "x", port = 0, source = "q"} : () -> ()

// -----

// expected-error@+1 {{'lut.region' op expected bytes in 1..4611686018427387903, got 0; change it}}
"lut.region"() {sym_name = "q.x", address = 0, bytes = 0, kind = "x", port = 0, source = "q"} : () -> ()

// -----

// expected-error@+1 {{'lut.region' op expected port in 0..63, got 64; change it}}
"lut.region"() {sym_name = "q.x", address = 0, bytes = 64, kind = "x", port = 64, source = "q"} : () -> ()
