// A float bias that something else still reads gives its name to the integer bias and gets the suffix `.float`.
// RUN: lutllm-opt %s --torch-to-lut=quantization=%S/Inputs/torch-to-lut --lut-symbol-dce | FileCheck %s

ml_program.global private @mlp.gate.weight(#ml_program.extern : tensor<6x8xf32>) : tensor<6x8xf32>
ml_program.global private @mlp.gate.bias(#ml_program.extern : tensor<6xf32>) : tensor<6xf32>

// CHECK-DAG: ml_program.global private @mlp.gate.bias.float({{.*}}) : tensor<6xf32>
// CHECK-DAG: ml_program.global private @mlp.gate.bias({{.*}}) : tensor<6xi32>
// CHECK-LABEL: func.func @main
// CHECK-DAG: "lut.linear"({{.*}} weights = @mlp.gate}
func.func @main(%x: !torch.vtensor<[5,8],f32>) -> (!torch.vtensor<[5,6],f32>, tensor<6xf32>) {
  %w = ml_program.global_load_const @mlp.gate.weight : tensor<6x8xf32>
  // CHECK-DAG: ml_program.global_load_const @mlp.gate.bias.float : tensor<6xf32>
  %b = ml_program.global_load_const @mlp.gate.bias : tensor<6xf32>
  %weight = torch_c.from_builtin_tensor %w : tensor<6x8xf32> -> !torch.vtensor<[6,8],f32>
  %bias = torch_c.from_builtin_tensor %b : tensor<6xf32> -> !torch.vtensor<[6],f32>
  %y = torch.aten.linear %x, %weight, %bias : !torch.vtensor<[5,8],f32>, !torch.vtensor<[6,8],f32>, !torch.vtensor<[6],f32> -> !torch.vtensor<[5,6],f32>
  return %y, %b : !torch.vtensor<[5,6],f32>, tensor<6xf32>
}
