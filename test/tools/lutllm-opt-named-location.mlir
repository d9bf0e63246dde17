// An op that carries the name and line of a PyTorch module is reported there, not in this file.
// RUN: not lutllm-opt %s 2>&1 | FileCheck %s

// CHECK: {{^}}model.py:12:3: error: 'lut.quantize' op
// CHECK-NOT: ^
func.func @f(%a: tensor<1x4xf32>) {
  %0 = "lut.quantize"(%a) : (tensor<1x4xf32>) -> tensor<1x4xi16> loc("q_proj"("model.py":12:3))
  return
}
