// RUN: not lutllm-opt %s 2>&1 | FileCheck %s --check-prefix=ERROR
// RUN: lutllm-opt %s --allow-unregistered-dialect | FileCheck %s

// ERROR: unregistered.mlir:[[# @LINE + 3]]:15: error: {{.*}}unregistered dialect
// CHECK: "nobody.knows"() {a = 1 : i64} : () -> ()

"nobody.knows"() {a = 1} : () -> ()
