// Parts between `// -----` lines are modules of their own: one that fails does not stop the others, lines count on.
// RUN: not lutllm-opt %s --split-input-file 2>%t.err | FileCheck %s
// RUN: FileCheck %s --check-prefix=ERROR < %t.err
// RUN: not lutllm-opt %s 2>&1 | FileCheck %s --check-prefix=WHOLE

// CHECK: func.func @f()
// CHECK: // -----
// CHECK-NOT: @broken
// CHECK: func.func @f()
// ERROR: split-input-file.mlir:[[# @LINE + 9]]:3: error: 'func.return' op
// WHOLE: split-input-file.mlir:{{.*}}: error:
func.func @f() {
  return
}

// -----

func.func @broken() -> i32 {
  return
}

// -----

func.func @f() {
  return
}
