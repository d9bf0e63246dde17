// Every pass is a flag, ours and MLIR's; the order is kept, options are in the value, one dash is as good as two.
// RUN: lutllm-opt %s --lut-decompose="row-source=built_row" --cse --canonicalize=max-iterations=3 -lut-canonicalize --dump-pass-pipeline -o /dev/null 2>&1 | FileCheck %s
// A pass that runs on functions only is nested.
// RUN: lutllm-opt %s --affine-loop-unroll --torch-fuse-quantized-ops --dump-pass-pipeline -o /dev/null 2>&1 | FileCheck %s --check-prefix=NEST

// CHECK: Pass Manager with 4 passes:
// CHECK-NEXT: builtin.module(lut-decompose{row-source=built_row},cse,canonicalize{{{.*}}max-iterations=3 {{.*}}},lut-canonicalize)
// NEST: builtin.module(func.func(affine-loop-unroll{{{.*}}}),func.func(torch-fuse-quantized-ops))
func.func @f() {
  return
}
