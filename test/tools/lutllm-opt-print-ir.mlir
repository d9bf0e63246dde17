// IR is shown on stderr around the passes named, or around all; a pass in func.func(...) shows its function.
// RUN: lutllm-opt %s --lut-canonicalize --cse --canonicalize --mlir-print-ir-before=cse --mlir-print-ir-after=cse,canonicalize -o /dev/null 2>&1 | FileCheck %s
// RUN: lutllm-opt %s --lut-canonicalize --cse --mlir-print-ir-before-all --mlir-print-ir-after-all -o /dev/null 2>&1 | FileCheck %s --check-prefix=ALL
// RUN: lutllm-opt %s --pass-pipeline="builtin.module(func.func(cse))" --mlir-print-ir-after-all -o /dev/null 2>&1 | FileCheck %s --check-prefix=NEST
// RUN: not lutllm-opt %s --pass-pipeline="builtin.module(affine-loop-unroll)" --mlir-print-ir-after-all 2>&1 | FileCheck %s --check-prefix=FAILED
// RUN: lutllm-opt %s --cse --mlir-print-ir-before-all --mlir-print-debuginfo -o /dev/null 2>&1 | FileCheck %s --check-prefix=LOC

// CHECK-NOT: lut-canonicalize
// CHECK: // -----// IR Dump Before cse //----- //
// CHECK-NEXT: module
// CHECK-COUNT-2: arith.constant
// CHECK: // -----// IR Dump After cse //----- //
// CHECK-COUNT-1: arith.constant
// CHECK-NOT: Before canonicalize
// CHECK: // -----// IR Dump After canonicalize //----- //
// ALL: IR Dump Before lut-canonicalize
// ALL: IR Dump After lut-canonicalize
// ALL: IR Dump Before cse
// ALL: IR Dump After cse
// NEST: IR Dump After cse
// NEST-NEXT: func.func @f
// FAILED: IR Dump After affine-loop-unroll Failed
// LOC: func.func @f
// LOC: loc(
func.func @f() -> (i32, i32) {
  %0 = arith.constant 1 : i32
  %1 = arith.constant 1 : i32
  return %0, %1 : i32, i32
}
