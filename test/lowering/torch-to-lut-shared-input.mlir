// Linears that read one value share one lut.quantize; a linear without a location is found by its weight's symbol.
// RUN: lutllm-opt %s --torch-to-lut=quantization=%S/Inputs/torch-to-lut/quantization.json | FileCheck %s

ml_program.global private @mlp.gate.weight(#ml_program.extern : tensor<6x8xf32>) : tensor<6x8xf32>
ml_program.global private @mlp.up.weight(#ml_program.extern : tensor<10x8xf32>) : tensor<10x8xf32>

// CHECK-LABEL: func.func @main
// CHECK: %[[Q:.*]] = "lut.quantize"
// CHECK-NOT: lut.quantize
// CHECK: "lut.linear"(%[[Q]]) {{.*}} weights = @mlp.gate}
// CHECK-NOT: lut.quantize
// CHECK: "lut.linear"(%[[Q]]) {codebook = @mlp.gate.input.codebook, {{.*}}weights = @mlp.up}
func.func @main(%x: !torch.vtensor<[5,8],f32>) -> (!torch.vtensor<[5,6],f32>, !torch.vtensor<[5,10],f32>) {
  %none = torch.constant.none
  %0 = ml_program.global_load_const @mlp.gate.weight : tensor<6x8xf32>
  %1 = ml_program.global_load_const @mlp.up.weight : tensor<10x8xf32>
  %gate = torch_c.from_builtin_tensor %0 : tensor<6x8xf32> -> !torch.vtensor<[6,8],f32>
  %up = torch_c.from_builtin_tensor %1 : tensor<10x8xf32> -> !torch.vtensor<[10,8],f32>
  %a = torch.aten.linear %x, %gate, %none : !torch.vtensor<[5,8],f32>, !torch.vtensor<[6,8],f32>, !torch.none -> !torch.vtensor<[5,6],f32>
  %b = torch.aten.linear %x, %up, %none : !torch.vtensor<[5,8],f32>, !torch.vtensor<[10,8],f32>, !torch.none -> !torch.vtensor<[5,10],f32>
  return %a, %b : !torch.vtensor<[5,6],f32>, !torch.vtensor<[5,10],f32>
}
