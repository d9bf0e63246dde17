// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// A layer on floats: parameters are PyTorch's, of any float type; a linear without a bias; heads normed by themselves.

ml_program.global private @embed.weight(#ml_program.extern : tensor<12x8xf32>) : tensor<12x8xf32>
ml_program.global private @norm.weight(#ml_program.extern : tensor<8xf32>) : tensor<8xf32>
ml_program.global private @q_norm.weight(#ml_program.extern : tensor<2xf32>) : tensor<2xf32>
ml_program.global private @q.weight(#ml_program.extern : tensor<8x8xbf16>) : tensor<8x8xbf16>
ml_program.global private @k.weight(#ml_program.extern : tensor<4x8xf16>) : tensor<4x8xf16>
ml_program.global private @k.bias(#ml_program.extern : tensor<4xf32>) : tensor<4xf32>
ml_program.global private @inv_freq(#ml_program.extern : tensor<1xf32>) : tensor<1xf32>

// CHECK-LABEL: func.func @forward(
func.func @forward(%ids: tensor<?xi32>, %position: tensor<1xi32>) -> tensor<?x8xf32> {
  // CHECK: "lut.float_embedding"(%{{.*}}) {name = "embed", weight = @embed.weight} : (tensor<?xi32>) -> tensor<?x8xf32>
  %x = "lut.float_embedding"(%ids) {name = "embed", weight = @embed.weight} : (tensor<?xi32>) -> tensor<?x8xf32>
  // CHECK: "lut.float_norm"(%{{.*}}) {epsilon = 1.000000e-05 : f64, gain = @norm.weight, groups = 1 : i64, kind = "rms", name = "norm"}
  %n = "lut.float_norm"(%x) {name = "norm", gain = @norm.weight, kind = "rms", epsilon = 1.0e-5, groups = 1} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: "lut.float_linear"(%{{.*}}) {name = "q", weight = @q.weight} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %q = "lut.float_linear"(%n) {name = "q", weight = @q.weight} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %qn = "lut.float_norm"(%q) {name = "q_norm", gain = @q_norm.weight, kind = "rms", epsilon = 0.0, groups = 4} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: "lut.float_linear"(%{{.*}}) {bias = @k.bias, name = "k", weight = @k.weight} : (tensor<?x8xf32>) -> tensor<?x4xf32>
  %k = "lut.float_linear"(%n) {name = "k", weight = @k.weight, bias = @k.bias} : (tensor<?x8xf32>) -> tensor<?x4xf32>
  // CHECK: "lut.float_rope"(%{{.*}}, %{{.*}}) {frequencies = @inv_freq, heads = 4 : i64, name = "q.rope", scale = 1.500000e+00 : f64}
  %r = "lut.float_rope"(%qn, %position) {name = "q.rope", frequencies = @inv_freq, heads = 4, scale = 1.5} : (tensor<?x8xf32>, tensor<1xi32>) -> tensor<?x8xf32>
  // CHECK: "lut.float_attention"(%{{.*}}, %{{.*}}, %{{.*}}) {heads = 4 : i64, kv_heads = 2 : i64, name = "attention", scale = 5.000000e-01 : f64}
  %a = "lut.float_attention"(%r, %k, %k) {name = "attention", heads = 4, kv_heads = 2, scale = 0.5} : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x8xf32>
  // CHECK: "lut.float_gated"(%{{.*}}, %{{.*}}) {activation = "silu", name = "gated"}
  %g = "lut.float_gated"(%n, %a) {name = "gated", activation = "silu"} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: "lut.float_add"(%{{.*}}, %{{.*}}) {name = "layer.mlp"}
  %y = "lut.float_add"(%x, %g) {name = "layer.mlp"} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: "lut.float_embedding"(%{{.*}}) {name = "scaled", scale = 5.500000e+00 : f64, weight = @embed.weight}
  %sx = "lut.float_embedding"(%ids) {name = "scaled", weight = @embed.weight, scale = 5.5} : (tensor<?xi32>) -> tensor<?x8xf32>
  // CHECK: "lut.float_norm"(%{{.*}}) {{.*}}offset = 1.000000e+00 : f64}
  %on = "lut.float_norm"(%sx) {name = "offset", gain = @norm.weight, kind = "rms", epsilon = 1.0e-5, groups = 1, offset = 1.0} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: "lut.float_linear"(%{{.*}}) {name = "sq", scale = 2.200000e-01 : f64, weight = @q.weight}
  %sq = "lut.float_linear"(%on) {name = "sq", weight = @q.weight, scale = 0.22} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: "lut.float_attention"(%{{.*}}, %{{.*}}, %{{.*}}) {{.*}}window = 4 : i64}
  %wa = "lut.float_attention"(%sq, %k, %k) {name = "window", heads = 4, kv_heads = 2, scale = 0.5, window = 4} : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x8xf32>
  // CHECK: "lut.float_gated"(%{{.*}}) {activation = "gelu_tanh", name = "alone"} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %ga = "lut.float_gated"(%wa) {name = "alone", activation = "gelu_tanh"} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: "lut.float_norm"(%{{.*}}) {bias = @norm.weight, {{.*}}kind = "layer"
  %ln = "lut.float_norm"(%ga) {name = "layer", gain = @norm.weight, bias = @norm.weight, kind = "layer", epsilon = 1.0e-5, groups = 1} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: "lut.float_slice"(%{{.*}}) {groups = 2 : i64, name = "part", start = 1 : i64}
  %sl = "lut.float_slice"(%ln) {name = "part", groups = 2, start = 1} : (tensor<?x8xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x8xf32>
}
