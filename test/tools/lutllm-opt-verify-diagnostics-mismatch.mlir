// A diagnostic nobody expected and an expectation nothing fulfils are errors, as in MLIR.
// RUN: not lutllm-opt %s --verify-diagnostics --split-input-file > %t.out 2> %t.err
// RUN: FileCheck %s < %t.err
// RUN: FileCheck %s --check-prefix=OUT < %t.out

// OUT-COUNT-1: func.func
// OUT-NOT: func.func
// CHECK: mismatch.mlir:[[# @LINE + 2]]:3: error: unexpected error: 'func.return' op has 0 operands
func.func @unexpected() -> i32 {
  return
}

// -----

// CHECK: mismatch.mlir:[[# @LINE + 1]]:4: error: expected error "no such thing" was not produced
// expected-error@+1 {{no such thing}}
func.func @missing() {
  return
}

// -----

// The text fits but the severity does not; one diagnostic fulfils one expectation only.
func.func @severity() -> i32 {
  // CHECK: mismatch.mlir:[[# @LINE + 4]]:3: error: unexpected error: 'func.return' op has 0 operands
  // CHECK: mismatch.mlir:[[# @LINE + 1]]:6: error: expected warning "has 0 operands" was not produced
  // expected-warning@+2 {{has 0 operands}}

  return
}

// -----

func.func @once() -> i32 {
  // CHECK: mismatch.mlir:[[# @LINE + 2]]:6: error: expected error "has 0 operands" was not produced
  // expected-error@+2 {{has 0 operands}}
  // expected-error@+1 {{has 0 operands}}
  return
}
