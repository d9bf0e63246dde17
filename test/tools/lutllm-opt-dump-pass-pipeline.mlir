// What is printed can be given back: MLIR's passes with every option, ours with those that are not at their default.
// RUN: lutllm-opt %s --pass-pipeline="builtin.module( lut-decompose{row-source=exact_row}, func.func(cse,lut-decompose), canonicalize)" --dump-pass-pipeline -o /dev/null 2>&1 | FileCheck %s
// RUN: lutllm-opt %s --pass-pipeline="builtin.module(canonicalize{max-iterations=3})" --dump-pass-pipeline -o /dev/null 2>&1 | sed -n 2p > %t
// RUN: xargs -d '\n' -a %t -I TEXT lutllm-opt %s --pass-pipeline=TEXT --dump-pass-pipeline -o /dev/null 2>&1 | sed -n 2p | diff - %t

// CHECK: Pass Manager with 4 passes:
// CHECK-NEXT: builtin.module(lut-decompose{row-source=exact_row},func.func(cse,lut-decompose),canonicalize{{{.*}}max-iterations=10 {{.*}}})
func.func @f() {
  return
}
