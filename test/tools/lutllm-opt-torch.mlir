// Torch IR parses, and torch-mlir's passes run: the torch dialects are loaded when a text needs them.
// RUN: lutllm-opt %s --torch-fuse-quantized-ops --canonicalize | FileCheck %s

// CHECK: torch.aten.relu
func.func @f(%a: !torch.vtensor<[2,3],f32>) -> !torch.vtensor<[2,3],f32> {
  %0 = torch.aten.relu %a : !torch.vtensor<[2,3],f32> -> !torch.vtensor<[2,3],f32>
  return %0 : !torch.vtensor<[2,3],f32>
}
