// RUN: lutllm-opt %s --mlir-print-debuginfo | FileCheck %s --check-prefix=LOC
// RUN: lutllm-opt %s --mlir-print-op-generic | FileCheck %s --check-prefix=GENERIC
// RUN: lutllm-opt %s --mlir-print-debuginfo --mlir-print-local-scope | FileCheck %s --check-prefix=LOCAL
// RUN: lutllm-opt %s | FileCheck %s

// CHECK: func.func @f()
// CHECK-NOT: loc(
// LOC: return loc([[LOC:#.*]])
// LOC: [[LOC]] = loc("{{.*}}print-forms.mlir":[[# @LINE + 4]]:3)
// LOCAL: return loc("{{.*}}print-forms.mlir":[[# @LINE + 3]]:3)
// GENERIC: "func.func"() <{function_type = () -> (), sym_name = "f"}>
func.func @f() {
  return
}
