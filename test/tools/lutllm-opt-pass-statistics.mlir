// Each pass shows how many operations it got and left, in the order of the pipeline; ours also what they count.
// RUN: lutllm-opt %s --cse --lut-symbol-dce --mlir-pass-statistics -o /dev/null 2>&1 | FileCheck %s
// RUN: lutllm-opt %s --cse --lut-symbol-dce -o /dev/null 2>&1 | FileCheck %s --check-prefix=NONE --allow-empty

// CHECK: ... Pass statistics report ...
// CHECK-NEXT: ===---
// CHECK-NEXT: {{^}}cse
// CHECK-NEXT: (S) 6 operations-before
// CHECK-NEXT: (S) 5 operations-after
// CHECK-NEXT: {{^}}lut-symbol-dce
// CHECK-NEXT: (S) 5 operations-before
// CHECK-NEXT: (S) 4 operations-after
// CHECK-NEXT: (S) 1 symbols-removed
// NONE-NOT: statistics
ml_program.global private @unused(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
func.func @f() -> (i32, i32) {
  %0 = arith.constant 1 : i32
  %1 = arith.constant 1 : i32
  return %0, %1 : i32, i32
}
