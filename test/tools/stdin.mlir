// RUN: lutllm-opt < %s | FileCheck %s
// RUN: lutllm-opt - < %s | FileCheck %s
// RUN: lutllm-opt %s | FileCheck %s

// CHECK: func.func @f()
func.func @f() {
  return
}
