// A pipeline that fails leaves the IR it began with and itself in a file, which runs again; one that succeeds does not.
// RUN: rm -f %t
// RUN: not lutllm-opt %s --lut-decompose="row-source=built_row" --cse --torch-verify-backend-contract-no-decompositions --verify-each=0 --mlir-pass-pipeline-crash-reproducer=%t 2>&1 | FileCheck %s --check-prefix=SAID
// RUN: FileCheck %s < %t
// RUN: not lutllm-opt %t --run-reproducer --dump-pass-pipeline 2>&1 | FileCheck %s --check-prefix=AGAIN
// RUN: not lutllm-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(cse),torch-verify-backend-contract-no-decompositions)" --mlir-pass-pipeline-crash-reproducer=%t -o /dev/null
// RUN: FileCheck %s --check-prefix=FIRST < %t
// RUN: not torch-mlir-opt %t --run-reproducer 2>&1 | FileCheck %s --check-prefix=AGAIN-MLIR
// RUN: lutllm-opt %s --split-input-file --cse --mlir-pass-pipeline-crash-reproducer=%t -o /dev/null
// RUN: not ls %t
// RUN: not lutllm-opt %s --run-reproducer 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not lutllm-opt %s --mlir-pass-pipeline-crash-reproducer=%t/none/file 2>&1 | FileCheck %s --check-prefix=FOLDER

// SAID: reproducer.mlir:[[# @LINE + 14]]:1: error: unsupported by backend contract
// SAID: note: the IR and the pipeline that failed are in '{{.*}}'
// CHECK: func.func @f
// CHECK-COUNT-2: arith.constant
// CHECK: mlir_reproducer: {
// CHECK-NEXT: pipeline: "builtin.module(lut-decompose{row-source=built_row},cse,torch-verify-backend-contract-no-decompositions)",
// CHECK: verify_each: false
// AGAIN: builtin.module(lut-decompose{row-source=built_row},cse,torch-verify-backend-contract-no-decompositions
// AGAIN-NOT: warning
// AGAIN: reproducer.mlir:[[# @LINE + 5]]:1: error: unsupported by backend contract
// FIRST: func.func @f
// AGAIN-MLIR: error: unsupported by backend contract
// NONE: error: expected '{{.*}}reproducer.mlir' to hold an mlir_reproducer resource, got none
// FOLDER: error: cannot write '{{.*}}': expected a directory
func.func @f(%a: tensor<?xf32>) -> (i32, i32) {
  %0 = arith.constant 1 : i32
  %1 = arith.constant 1 : i32
  return %0, %1 : i32, i32
}

// -----

func.func @g(%a: tensor<?xf32>) {
  return
}
