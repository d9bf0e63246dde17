// RUN: lutllm-opt --version | FileCheck %s --check-prefix=VERSION
// RUN: lutllm-opt --show-dialects | FileCheck %s --check-prefix=DIALECTS
// RUN: lutllm-opt --list-passes | FileCheck %s --check-prefix=PASSES
// RUN: lutllm-opt --emit-irdl | FileCheck %s --check-prefix=IRDL
// RUN: lutllm-opt --emit-irdl | lutllm-opt --verify-diagnostics

// VERSION: lutllm-opt {{[0-9]+\.[0-9]+\.[0-9]+}}
// VERSION-NEXT: MLIR bindings: torch-mlir {{[0-9]+}}
// DIALECTS: Available Dialects: {{.*}}func,{{.*}}lut,{{.*}}ml_program,{{.*}}torch,
// PASSES: lutllm passes:
// PASSES: --lut-decompose {{.*}}Split every lut.linear
// PASSES-NEXT: row-source=str
// PASSES: MLIR passes
// PASSES: --canonicalize
// PASSES: --cse
// PASSES: --torch-decompose-complex-ops
// PASSES: --torch-verify-backend-contract-no-decompositions{{$}}
// IRDL: irdl.dialect @lut
// IRDL: irdl.operation @linear
