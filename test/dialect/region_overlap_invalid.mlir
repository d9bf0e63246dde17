// RUN: lutllm-opt %s --verify-diagnostics
// No two regions of the memory map share a byte.

// expected-error@+1 {{'lut.region' op expected address >= 129, after region @norm.p, got 128; allocate again}}
"lut.region"() {sym_name = "q.w", kind = "w", address = 128, bytes = 64} : () -> ()
"lut.region"() {sym_name = "header", kind = "h", address = 0, bytes = 64} : () -> ()
"lut.region"() {sym_name = "norm.p", kind = "p", address = 64, bytes = 65} : () -> ()
