// Expected diagnostics, wherever the comment stands, make a failing run succeed and print nothing.
// RUN: lutllm-opt %s --split-input-file --verify-diagnostics --allow-unregistered-dialect --lut-canonicalize > %t 2>&1
// RUN: test ! -s %t

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
