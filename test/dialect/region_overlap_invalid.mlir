// RUN: lutllm-opt %s --verify-diagnostics

// No two regions of the memory map share a byte.

"lut.region"() {sym_name = "q.x", address = 0, bytes = 65, kind = "x", port = 0, source = "q"} : () -> ()
// expected-error@+1 {{'lut.region' op expected address >= 65, after region @q.x, got 64; schedule it again}}
"lut.region"() {sym_name = "q.c", address = 64, bytes = 64, kind = "c", port = 0, source = "q"} : () -> ()
