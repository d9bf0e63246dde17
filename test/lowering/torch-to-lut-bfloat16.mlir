// A model in bfloat16 is widened to f32 before lut.quantize and narrowed after lut.dequantize.
// RUN: lutllm-opt %s --torch-to-lut=quantization=%S/Inputs/torch-to-lut | FileCheck %s

ml_program.global private @mlp.down.weight(#ml_program.extern : tensor<8x6xbf16>) : tensor<8x6xbf16>

// CHECK-LABEL: func.func @main
func.func @main(%x: !torch.vtensor<[3,6],bf16>) -> !torch.vtensor<[3,8],bf16> {
  %none = torch.constant.none
  %w = ml_program.global_load_const @mlp.down.weight : tensor<8x6xbf16>
  %weight = torch_c.from_builtin_tensor %w : tensor<8x6xbf16> -> !torch.vtensor<[8,6],bf16>
  // CHECK: %[[F:.*]] = arith.extf %{{.*}} : tensor<3x6xbf16> to tensor<3x6xf32>
  // CHECK: "lut.quantize"(%[[F]])
  // CHECK: "lut.linear"({{.*}} {scheme = @exact2, {{.*}}weights = @mlp.down}
  // CHECK: %[[D:.*]] = "lut.dequantize"
  // CHECK: arith.truncf %[[D]] : tensor<3x8xf32> to tensor<3x8xbf16>
  %y = torch.aten.linear %x, %weight, %none : !torch.vtensor<[3,6],bf16>, !torch.vtensor<[8,6],bf16>, !torch.none -> !torch.vtensor<[3,8],bf16>
  return %y : !torch.vtensor<[3,8],bf16>
}
