// A linear, a norm, a gated unit and a sum, as PyTorch spells them, without a decoder around; a linear used twice.
// RUN: lutllm-opt %s --torch-raise --lut-symbol-dce --mlir-print-debuginfo | FileCheck %s
// RUN: lutllm-opt %S/Inputs/torch-raise/llama.mlir --torch-raise | FileCheck %s --check-prefix=LLAMA

ml_program.global private @up.weight(#ml_program.extern : tensor<4x4xf32>) : tensor<4x4xf32>
ml_program.global private @up.bias(#ml_program.extern : tensor<4xf32>) : tensor<4xf32>
ml_program.global private @norm.weight(#ml_program.extern : tensor<4xf32>) : tensor<4xf32>
ml_program.global private @unused(#ml_program.extern : tensor<4xf32>) : tensor<4xf32>
// CHECK-NOT: @unused
// CHECK: func.func @forward(%[[X:.*]]: tensor<?x4xf32> loc("x"), %[[IDS:.*]]: tensor<?xi32> loc("ids")) -> tensor<?x4xf32> {
// CHECK-NEXT: %[[A:.*]] = "lut.float_linear"(%[[X]]) {bias = @up.bias, name = "up", weight = @up.weight} : (tensor<?x4xf32>) -> tensor<?x4xf32> loc(#[[UP:.*]])
// CHECK-NEXT: %[[N:.*]] = "lut.float_norm"(%[[A]]) {epsilon = 1.000000e-05 : f64, gain = @norm.weight, groups = 1 : i64, kind = "rms", name = "norm"}
// CHECK-NEXT: %[[B:.*]] = "lut.float_linear"(%[[N]]) {bias = @up.bias, name = "up#1", weight = @up.weight}
// CHECK-NEXT: %[[G:.*]] = "lut.float_gated"(%[[B]], %[[N]]) {activation = "silu", name = "block.gated"}
// CHECK-NEXT: %[[Y:.*]] = "lut.float_add"(%[[X]], %[[G]]) {name = "block"}
// CHECK-NEXT: return %[[Y]]
// CHECK: #[[UP]] = loc("up")
func.func @main(%x: !torch.vtensor<[1,3,4],f32>, %unread: !torch.vtensor<[3],si64>, %mask: !torch.vtensor<[1,1,3,3],f32>) -> !torch.vtensor<[1,3,4],f32> {
  %int1 = torch.constant.int 1
  %int2 = torch.constant.int 2
  %last = torch.constant.int -1
  %eps = torch.constant.float 1.000000e-05
  %none = torch.constant.none
  %true = torch.constant.bool true
  %w = ml_program.global_load_const @up.weight : tensor<4x4xf32>
  %weight = torch_c.from_builtin_tensor %w : tensor<4x4xf32> -> !torch.vtensor<[4,4],f32>
  %b = ml_program.global_load_const @up.bias : tensor<4xf32>
  %bias = torch_c.from_builtin_tensor %b : tensor<4xf32> -> !torch.vtensor<[4],f32>
  %g = ml_program.global_load_const @norm.weight : tensor<4xf32>
  %gain = torch_c.from_builtin_tensor %g : tensor<4xf32> -> !torch.vtensor<[4],f32>
  %0 = torch.aten.linear %x, %weight, %bias : !torch.vtensor<[1,3,4],f32>, !torch.vtensor<[4,4],f32>, !torch.vtensor<[4],f32> -> !torch.vtensor<[1,3,4],f32> loc("up")
  %1 = torch.aten.pow.Tensor_Scalar %0, %int2 : !torch.vtensor<[1,3,4],f32>, !torch.int -> !torch.vtensor<[1,3,4],f32>
  %dims = torch.prim.ListConstruct %last : (!torch.int) -> !torch.list<int>
  %2 = torch.aten.mean.dim %1, %dims, %true, %none : !torch.vtensor<[1,3,4],f32>, !torch.list<int>, !torch.bool, !torch.none -> !torch.vtensor<[1,3,1],f32>
  %3 = torch.aten.add.Scalar %2, %eps, %int1 : !torch.vtensor<[1,3,1],f32>, !torch.float, !torch.int -> !torch.vtensor<[1,3,1],f32>
  %4 = torch.aten.rsqrt %3 : !torch.vtensor<[1,3,1],f32> -> !torch.vtensor<[1,3,1],f32>
  %5 = torch.aten.mul.Tensor %0, %4 : !torch.vtensor<[1,3,4],f32>, !torch.vtensor<[1,3,1],f32> -> !torch.vtensor<[1,3,4],f32>
  %6 = torch.aten.mul.Tensor %gain, %5 : !torch.vtensor<[4],f32>, !torch.vtensor<[1,3,4],f32> -> !torch.vtensor<[1,3,4],f32> loc("norm")
  %7 = torch.aten.linear %6, %weight, %bias : !torch.vtensor<[1,3,4],f32>, !torch.vtensor<[4,4],f32>, !torch.vtensor<[4],f32> -> !torch.vtensor<[1,3,4],f32> loc("up")
  %8 = torch.aten.silu %7 : !torch.vtensor<[1,3,4],f32> -> !torch.vtensor<[1,3,4],f32>
  %9 = torch.aten.mul.Tensor %8, %6 : !torch.vtensor<[1,3,4],f32>, !torch.vtensor<[1,3,4],f32> -> !torch.vtensor<[1,3,4],f32> loc("block")
  %10 = torch.aten.add.Tensor %x, %9, %int1 : !torch.vtensor<[1,3,4],f32>, !torch.vtensor<[1,3,4],f32>, !torch.int -> !torch.vtensor<[1,3,4],f32>
  return %10 : !torch.vtensor<[1,3,4],f32>
}

// LLAMA-NOT: torch
// LLAMA: func.func @forward(%[[IDS:.*]]: tensor<?xi32>, %[[P:.*]]: tensor<1xi32>) -> tensor<?x16xf32> {
// LLAMA-NEXT: %[[X:.*]] = "lut.float_embedding"(%[[IDS]]) {name = "model.embed_tokens", weight = @model.embed_tokens.weight}
// LLAMA-NEXT: %[[N:.*]] = "lut.float_norm"(%[[X]]) {{.*}} groups = 1 : i64, kind = "rms", name = "model.layers.0.input_layernorm"}
// LLAMA-NEXT: %[[Q:.*]] = "lut.float_linear"(%[[N]]) {name = "model.layers.0.self_attn.q_proj"
// LLAMA-NEXT: %[[K:.*]] = "lut.float_linear"(%[[N]]) {name = "model.layers.0.self_attn.k_proj"
// LLAMA-NEXT: %[[V:.*]] = "lut.float_linear"(%[[N]]) {name = "model.layers.0.self_attn.v_proj"
// LLAMA-NEXT: %[[QR:.*]] = "lut.float_rope"(%[[Q]], %[[P]]) {frequencies = @model.rotary_emb.inv_freq, heads = 2 : i64, name = "model.layers.0.self_attn.q_proj.rope", scale = 1.000000e+00 : f64}
// LLAMA-NEXT: %[[KR:.*]] = "lut.float_rope"(%[[K]], %[[P]]) {frequencies = @model.rotary_emb.inv_freq, heads = 1 : i64, name = "model.layers.0.self_attn.k_proj.rope"
// LLAMA-NEXT: %[[A:.*]] = "lut.float_attention"(%[[QR]], %[[KR]], %[[V]]) {heads = 2 : i64, kv_heads = 1 : i64, name = "model.layers.0.self_attn", scale = 5.000000e-01 : f64}
// LLAMA-NEXT: %[[O:.*]] = "lut.float_linear"(%[[A]]) {name = "model.layers.0.self_attn.o_proj"
// LLAMA-NEXT: %[[R:.*]] = "lut.float_add"(%[[X]], %[[O]]) {name = "model.layers.0.attention"}
// LLAMA-NEXT: "lut.float_norm"(%[[R]])
// LLAMA: %[[D:.*]] = "lut.float_linear"(%{{.*}}) {name = "model.layers.0.mlp.down_proj"
// LLAMA-NEXT: "lut.float_add"(%[[R]], %[[D]]) {name = "model.layers.0.mlp"}
// LLAMA: "lut.float_linear"(%{{.*}}) {name = "lm_head", weight = @lm_head.weight}
