// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// A module with its store.

// CHECK: module attributes {lut.store = #lut.store<"a.safetensors", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef">}
module attributes {lut.store = #lut.store<"a.safetensors", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef">} {}
