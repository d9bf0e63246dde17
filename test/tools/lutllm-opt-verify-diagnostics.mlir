// Expected diagnostics, wherever the comment stands, make a failing run succeed. What does not fail is printed.
// RUN: lutllm-opt %s --split-input-file --verify-diagnostics --allow-unregistered-dialect --lut-canonicalize 2>&1 | FileCheck %s

// CHECK: module {
// CHECK-NEXT: func.func private @well()
// CHECK-NEXT: }
// CHECK-NOT: {{.}}
func.func private @well()

// -----

func.func @same_line() -> i32 {
  return // expected-error {{op has 0 operands, but enclosing function (@same_line) returns 1}}
}

// -----

func.func @other_lines() -> i32 {
  // expected-error@+2 {{op has 0 operands}}

  return
}

// -----

func.func @below() -> i32 {
  // expected-error@below {{has 0 operands}}
  return
}

// -----

// expected-note@+1 {{see existing symbol definition here}}
func.func private @f()
func.func private @f()
// expected-error@above {{redefinition of symbol named 'f'}}
