// file:line:col, severity, message; the line and a caret below it; notes the same way. No traceback, no Python.
// RUN: not lutllm-opt %s 2>&1 | FileCheck %s
// RUN: not lutllm-opt < %s 2>&1 | FileCheck %s --check-prefix=STDIN
// RUN: not lutllm-opt %s --debug 2>&1 | FileCheck %s

// CHECK: {{^}}{{.*}}diagnostics.mlir:[[# @LINE + 10]]:11: error: redefinition of symbol named 'f'
// CHECK-NEXT: func.func private @f()
// CHECK-NEXT: ^
// CHECK-NEXT: diagnostics.mlir:{{.*}}: note: see current operation:
// CHECK: diagnostics.mlir:[[# @LINE + 5]]:1: note: see existing symbol definition here
// CHECK-NEXT: func.func private @f()
// CHECK-NEXT: ^
// CHECK-NOT: {{.}}
// STDIN: <stdin>:[[# @LINE + 2]]:11: error:
func.func private @f()
          func.func private @f()
