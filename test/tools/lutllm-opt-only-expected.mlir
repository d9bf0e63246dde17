// With =only-expected, diagnostics nobody expected do not count; expectations nothing fulfils still do.
// RUN: lutllm-opt %s --split-input-file --verify-diagnostics=only-expected 2>&1 | FileCheck %s --allow-empty
// RUN: not lutllm-opt %s --split-input-file --verify-diagnostics=all 2>&1 | FileCheck %s --check-prefix=ALL
// RUN: not lutllm-opt --verify-diagnostics=only-expected %S/Inputs/expected_re_wrong.mlir 2>&1 | FileCheck %s --check-prefix=MISSING

// CHECK-NOT: {{.}}
// ALL: only-expected.mlir:[[# @LINE + 4]]:1: error: unexpected error: redefinition of symbol named 'f'
// MISSING-NOT: unexpected
// MISSING: error: expected error "has {{.*}} operands" was not produced
func.func private @f() // expected-note {{see existing symbol}}
func.func private @f()
