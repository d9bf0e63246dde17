// `--split-input-file=MARKER` splits at lines that begin with MARKER, and there only.
// RUN: lutllm-opt %s --split-input-file="// CUT" | FileCheck %s
// RUN: not lutllm-opt %s --split-input-file 2>&1 | FileCheck %s --check-prefix=WHOLE
// RUN: not lutllm-opt %s 2>&1 | FileCheck %s --check-prefix=WHOLE

// CHECK: func.func private @f()
// CHECK: // -----
// CHECK: func.func private @f()
// CHECK-NEXT: func.func private @g()
// WHOLE: split-marker.mlir:[[# @LINE + 3]]:1: error: redefinition of symbol named 'f'
func.func private @f()
// CUT here
func.func private @f()
// -----
func.func private @g()
