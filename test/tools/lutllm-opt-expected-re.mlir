// `expected-error-re` holds regular expressions in double braces; `@below` skips lines that hold expectations.
// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// RUN: not lutllm-opt %S/Inputs/expected_re_wrong.mlir --split-input-file --verify-diagnostics 2>&1 | FileCheck %S/Inputs/expected_re_wrong.mlir

func.func @number() -> i32 {
  return // expected-error-re {{op has {{[0-9]+}} operands, but enclosing function ({{@.*}}) returns 1}}
}

// -----

// expected-note-re@below {{existing {{symbol|name}} definition}}
// expected-error@+2 {{redefinition of symbol named 'f'}}
func.func private @f()
func.func private @f()
