// Torch IR parses, and torch-mlir's passes run: the torch dialects are loaded when a text needs them.
// RUN: lutllm-opt %s --torch-fuse-quantized-ops --canonicalize --mlir-disable-threading | FileCheck %s
// Passes that build torch IR work on a module that has none.
// RUN: lutllm-opt --torch-reify-shape-calculations --torch-reify-dtype-calculations --torch-lower-to-backend-contract < /dev/null | FileCheck %s --check-prefix=EMPTY
// RUN: echo '"tm_tensor.scan"() : () -> ()' | not lutllm-opt 2>&1 | FileCheck %s --check-prefix=TMTENSOR

// CHECK: torch.aten.relu
// EMPTY: module {
// EMPTY-NEXT: }
// TMTENSOR: error: 'tm_tensor.scan' op requires one region
func.func @f(%a: !torch.vtensor<[2,3],f32>) -> !torch.vtensor<[2,3],f32> {
  %0 = torch.aten.relu %a : !torch.vtensor<[2,3],f32> -> !torch.vtensor<[2,3],f32>
  return %0 : !torch.vtensor<[2,3],f32>
}
