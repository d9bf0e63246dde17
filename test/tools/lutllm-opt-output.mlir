// -o writes the file whole or leaves it as it was, and keeps its hands off devices.
// RUN: rm -rf %t && mkdir %t
// RUN: lutllm-opt %s -o %t/out.mlir && FileCheck %s < %t/out.mlir
// RUN: not lutllm-opt %s -o %t/out.mlir --pass-pipeline="builtin.module(symbol-dce,none)"
// RUN: echo "func.func @g(" | not lutllm-opt -o %t/out.mlir
// RUN: FileCheck %s < %t/out.mlir
// RUN: ls -A %t | FileCheck %s --check-prefix=FILES
// RUN: lutllm-opt %s -o /dev/null
// RUN: not lutllm-opt %s -o %t/none/out.mlir 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not lutllm-opt %s -o %t 2>&1 | FileCheck %s --check-prefix=DIRECTORY

// CHECK: func.func @f()
// FILES: out.mlir
// FILES-NOT: {{.}}
// NONE: error: cannot write '{{.*}}none/out.mlir': expected a directory '{{.*}}none', got none; create it
// DIRECTORY: error: cannot write '{{.*}}': Is a directory
func.func @f() {
  return
}
