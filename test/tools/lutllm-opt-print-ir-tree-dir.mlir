// IR goes to files: a folder for each operation, numbers in the order of printing, MLIR's names.
// RUN: rm -rf %t
// RUN: lutllm-opt %s --pass-pipeline="builtin.module(cse,func.func(lut-canonicalize,cse),builtin.module(cse),symbol-dce)" --mlir-print-ir-after-all --mlir-print-ir-before=symbol-dce --mlir-print-ir-tree-dir=%t/tree 2>&1 | FileCheck %s --check-prefix=OUT
// RUN: cd %t/tree/builtin_module_outer && ls * | FileCheck %s
// RUN: FileCheck %s --check-prefix=FILE < %t/tree/builtin_module_outer/func_func_f.g/0_1_cse.mlir
// RUN: not lutllm-opt %s --cse --mlir-print-ir-after-all --mlir-print-ir-tree-dir=%s 2>&1 | FileCheck %s --check-prefix=WRONG

// OUT-NOT: IR Dump
// CHECK: 0_cse.mlir
// CHECK-NEXT: 1_symbol-dce.mlir
// CHECK-NEXT: 2_symbol-dce.mlir
// CHECK: builtin_module_no-symbol-name:
// CHECK-NEXT: 0_0_cse.mlir
// CHECK: func_func_f.g:
// CHECK-NEXT: 0_0_lut-canonicalize.mlir
// CHECK-NEXT: 0_1_cse.mlir
// FILE: // -----// IR Dump After cse //----- //
// FILE-NEXT: func.func @f.g()
// WRONG: error: cannot make the folder '{{.*}}.mlir/builtin_module_outer': Not a directory
module @outer {
  func.func @f.g() {
    return
  }
  module {}
}
