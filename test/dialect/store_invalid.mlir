// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// The module names its store by file and SHA-256.

// expected-error@+1 {{'builtin.module' op expected attribute 'lut.store' to be #lut.store<"file", "64 lower-case hex digits">, got #lut.store<"a.safetensors", "12">; change it}}
module attributes {lut.store = #lut.store<"a.safetensors", "12">} {}

// -----

// expected-error@+1 {{'builtin.module' op expected attribute 'lut.store' to be #lut.store<"file", "64 lower-case hex digits">, got "a.safetensors"; change it}}
module attributes {lut.store = "a.safetensors"} {}
