// Of the passes to print after, those are shown that changed something, and the one that failed.
// RUN: lutllm-opt %s --symbol-dce --cse --canonicalize --cse --mlir-print-ir-after-all --mlir-print-ir-after-change -o /dev/null 2>&1 | FileCheck %s
// RUN: lutllm-opt %s --cse --symbol-dce --mlir-print-ir-after=symbol-dce --mlir-print-ir-after-change -o /dev/null 2>&1 | FileCheck %s --check-prefix=NONE --allow-empty
// RUN: not lutllm-opt %s --pass-pipeline="builtin.module(affine-loop-unroll)" --mlir-print-ir-after-all --mlir-print-ir-after-change 2>&1 | FileCheck %s --check-prefix=FAILED

// CHECK-NOT: symbol-dce
// CHECK: IR Dump After cse
// CHECK-COUNT-1: arith.constant
// CHECK-NOT: IR Dump
// NONE-NOT: IR Dump
// FAILED: IR Dump After affine-loop-unroll Failed
func.func @f() -> (i32, i32) {
  %0 = arith.constant 1 : i32
  %1 = arith.constant 1 : i32
  return %0, %1 : i32, i32
}
