// Own and upstream passes mix in one pipeline, options and nesting included, and run in the order written.
// RUN: lutllm-opt %s --pass-pipeline="builtin.module(func.func(lut-canonicalize,cse),canonicalize{max-iterations=2},any(cse))" | FileCheck %s
// RUN: lutllm-opt %s --pass-pipeline="builtin.module()" | FileCheck %s --check-prefix=SAME
// RUN: lutllm-opt %s --pass-pipeline " builtin.module( func.func( cse , lut-canonicalize ) ) " | FileCheck %s --check-prefix=CSE

// CHECK-LABEL: func.func @twice
// CHECK-NEXT: return %arg0, %arg0
// SAME-COUNT-2: arith.addi
// CSE-COUNT-1: arith.addi
// CSE-NOT: arith.addi
func.func @twice(%a: i32) -> (i32, i32) {
  %zero = arith.constant 0 : i32
  %0 = arith.addi %a, %zero : i32
  %1 = arith.addi %a, %zero : i32
  return %0, %1 : i32, i32
}
