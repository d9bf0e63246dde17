// A linear with quantized parameters becomes quantize, lut.linear, dequantize; its float weight and bias are gone.
// RUN: lutllm-opt %s --torch-to-lut=quantization=%S/Inputs/torch-to-lut --lut-symbol-dce --mlir-print-debuginfo | FileCheck %s

ml_program.global private @mlp.gate.weight(#ml_program.extern : tensor<6x8xf32>) : tensor<6x8xf32>
ml_program.global private @mlp.gate.bias(#ml_program.extern : tensor<6xf32>) : tensor<6xf32>

// CHECK: module attributes {lut.store = #lut.store<"parameters.safetensors", "0123456789abcdef{{.*}}">}
// CHECK-NOT: @mlp.gate.weight
// CHECK: ml_program.global private @mlp.gate.codes({{.*}}) : tensor<4x2x6xi8>
// CHECK: ml_program.global private @mlp.gate.weight_codebook({{.*}}) : tensor<4x2x2x16x2xi8>
// CHECK: ml_program.global private @mlp.gate.tables({{.*}}) : tensor<4x2x2x2x16x16xi8>
// CHECK: ml_program.global private @mlp.gate.input.exponents({{.*}}) : tensor<4xi8>
// CHECK-NOT: @mlp.gate.weight(
func.func @main(%x: !torch.vtensor<[2,?,8],f32>) -> !torch.vtensor<[2,?,6],f32> {
  %w = ml_program.global_load_const @mlp.gate.weight : tensor<6x8xf32>
  %b = ml_program.global_load_const @mlp.gate.bias : tensor<6xf32>
  %weight = torch_c.from_builtin_tensor %w : tensor<6x8xf32> -> !torch.vtensor<[6,8],f32>
  %bias = torch_c.from_builtin_tensor %b : tensor<6xf32> -> !torch.vtensor<[6],f32>
  // CHECK: %[[X:.*]] = torch_c.to_builtin_tensor %{{.*}} : !torch.vtensor<[2,?,8],f32> -> tensor<2x?x8xf32>
  // CHECK-NEXT: %[[Q:.*]] = "lut.quantize"(%[[X]])
  // CHECK-NEXT: %[[Y:.*]] = "lut.linear"(%[[Q]]) {{.*}} tables, weights = @mlp.gate}{{.*}} loc(#[[LOC:.*]])
  // CHECK-NEXT: %[[F:.*]] = "lut.dequantize"(%[[Y]])
  // CHECK-NEXT: %[[R:.*]] = torch_c.from_builtin_tensor %[[F]] : tensor<2x?x6xf32> -> !torch.vtensor<[2,?,6],f32>
  // CHECK-NEXT: return %[[R]]
  %y = torch.aten.linear %x, %weight, %bias : !torch.vtensor<[2,?,8],f32>, !torch.vtensor<[6,8],f32>, !torch.vtensor<[6],f32> -> !torch.vtensor<[2,?,6],f32> loc("mlp.gate"("model.py":7:3))
  return %y : !torch.vtensor<[2,?,6],f32>
}
// The PyTorch module and source line stay.
// CHECK: #[[FILE:.*]] = loc("model.py":7:3)
// CHECK: #[[LOC]] = loc("mlp.gate"(#[[FILE]]))
