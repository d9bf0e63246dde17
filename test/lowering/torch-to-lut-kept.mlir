// Linears without quantized parameters stay, and are listed with their module path and source line.
// RUN: lutllm-opt %s --torch-to-lut=quantization=%S/Inputs/torch-to-lut -o - 2>%t.err | FileCheck %s
// RUN: FileCheck %s --check-prefix=LIST --input-file=%t.err

ml_program.global private @head.weight(#ml_program.extern : tensor<6x8xf32>) : tensor<6x8xf32>

// CHECK: torch.aten.linear
// CHECK: torch.aten.linear
// CHECK-NOT: lut.
// LIST: torch-to-lut: 'head' stays as it is (model.py:9:0): no quantized parameters
// LIST: torch-to-lut: 'mixed' stays as it is (model.py:10:0): expected a weight that is a parameter, got a computed one; store it as a parameter
func.func @main(%x: !torch.vtensor<[5,8],f32>) -> !torch.vtensor<[5,6],f32> {
  %none = torch.constant.none
  %w = ml_program.global_load_const @head.weight : tensor<6x8xf32>
  %weight = torch_c.from_builtin_tensor %w : tensor<6x8xf32> -> !torch.vtensor<[6,8],f32>
  %y = torch.aten.linear %x, %weight, %none : !torch.vtensor<[5,8],f32>, !torch.vtensor<[6,8],f32>, !torch.none -> !torch.vtensor<[5,6],f32> loc("head"("model.py":9:0))
  %computed = torch.aten.relu %weight : !torch.vtensor<[6,8],f32> -> !torch.vtensor<[6,8],f32>
  %z = torch.aten.linear %x, %computed, %none : !torch.vtensor<[5,8],f32>, !torch.vtensor<[6,8],f32>, !torch.none -> !torch.vtensor<[5,6],f32> loc("mixed"("model.py":10:0))
  return %y : !torch.vtensor<[5,6],f32>
}
