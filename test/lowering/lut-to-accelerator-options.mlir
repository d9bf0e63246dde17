// Options that name nothing, and a module with one engine that stays as it is.
// RUN: not lutllm-opt %s --lut-to-accelerator="target=huge" 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not lutllm-opt %s --lut-to-accelerator="tokens=0" 2>&1 | FileCheck %s --check-prefix=TOKENS
// RUN: not lutllm-opt %s --lut-to-accelerator="tokens=many" 2>&1 | FileCheck %s --check-prefix=NUMBER
// RUN: not lutllm-opt %s --lut-to-accelerator="lanes=4" 2>&1 | FileCheck %s --check-prefix=OPTION

// TARGET: error: {{.*}}expected a target among tiny, small, got 'huge'
// TARGET-NOT: Traceback
// TOKENS: error: {{.*}}expected tokens >= 1, got 0
// NUMBER: error: {{.*}}tokens
// OPTION: error: {{.*}}lanes
module {}
