// RUN: lutllm-opt %s --lut-canonicalize --cse --mlir-timing -o /dev/null 2>&1 | FileCheck %s

// CHECK: ... Execution time report ...
// CHECK: Total Execution Time: {{[0-9.]+}} seconds
// CHECK: ----Wall Time----  ----Name----
// CHECK-NEXT: %)  Parser
// CHECK-NEXT: %)  lut-canonicalize
// CHECK-NEXT: %)  cse
// CHECK-NEXT: %)  Output
// CHECK-NEXT: (100.0%)  Total
func.func @f() {
  return
}
