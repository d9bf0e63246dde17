#extern = #ml_program.extern : tensor<16x8xf32>
#extern1 = #ml_program.extern : tensor<8xf32>
#extern2 = #ml_program.extern : tensor<8x8xf32>
#extern3 = #ml_program.extern : tensor<2xf32>
#extern4 = #ml_program.extern : tensor<4x8xf32>
#extern5 = #ml_program.extern : tensor<12x8xf32>
#extern6 = #ml_program.extern : tensor<8x12xf32>
module {
  ml_program.global private @model.embed_tokens.weight(#extern) : tensor<16x8xf32>
  ml_program.global private @model.layers.0.input_layernorm.weight(#extern1) : tensor<8xf32>
  ml_program.global private @model.layers.0.self_attn.q_proj.weight(#extern2) : tensor<8x8xf32>
  ml_program.global private @model.rotary_emb.4.inv_freq(#extern3) : tensor<2xf32>
  ml_program.global private @model.layers.0.self_attn.k_proj.weight(#extern4) : tensor<4x8xf32>
  ml_program.global private @model.layers.0.self_attn.v_proj.weight(#extern4) : tensor<4x8xf32>
  ml_program.global private @model.layers.0.self_attn.o_proj.weight(#extern2) : tensor<8x8xf32>
  ml_program.global private @model.layers.0.post_attention_layernorm.weight(#extern1) : tensor<8xf32>
  ml_program.global private @model.layers.0.mlp.gate_proj.weight(#extern5) : tensor<12x8xf32>
  ml_program.global private @model.layers.0.mlp.up_proj.weight(#extern5) : tensor<12x8xf32>
  ml_program.global private @model.layers.0.mlp.down_proj.weight(#extern6) : tensor<8x12xf32>
  ml_program.global private @model.norm.weight(#extern1) : tensor<8xf32>
  ml_program.global private @lm_head.weight(#extern) : tensor<16x8xf32>
  func.func @forward(%arg0: tensor<?xi32>, %arg1: tensor<1xi32>) -> tensor<?x16xf32> {
    %0 = "lut.float_embedding"(%arg0) {name = "model.embed_tokens", weight = @model.embed_tokens.weight} : (tensor<?xi32>) -> tensor<?x8xf32>
    %1 = "lut.float_norm"(%0) {epsilon = 9.9999999999999995E-7 : f64, gain = @model.layers.0.input_layernorm.weight, groups = 1 : i64, kind = "rms", name = "model.layers.0.input_layernorm"} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %2 = "lut.float_linear"(%1) {name = "model.layers.0.self_attn.q_proj", weight = @model.layers.0.self_attn.q_proj.weight} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %3 = "lut.float_rope"(%2, %arg1) {frequencies = @model.rotary_emb.4.inv_freq, heads = 2 : i64, name = "model.layers.0.self_attn.q_proj.rope", scale = 1.000000e+00 : f64} : (tensor<?x8xf32>, tensor<1xi32>) -> tensor<?x8xf32>
    %4 = "lut.float_linear"(%1) {name = "model.layers.0.self_attn.k_proj", weight = @model.layers.0.self_attn.k_proj.weight} : (tensor<?x8xf32>) -> tensor<?x4xf32>
    %5 = "lut.float_rope"(%4, %arg1) {frequencies = @model.rotary_emb.4.inv_freq, heads = 1 : i64, name = "model.layers.0.self_attn.k_proj.rope", scale = 1.000000e+00 : f64} : (tensor<?x4xf32>, tensor<1xi32>) -> tensor<?x4xf32>
    %6 = "lut.float_linear"(%1) {name = "model.layers.0.self_attn.v_proj", weight = @model.layers.0.self_attn.v_proj.weight} : (tensor<?x8xf32>) -> tensor<?x4xf32>
    %7 = "lut.float_attention"(%3, %5, %6) {heads = 2 : i64, kv_heads = 1 : i64, name = "model.layers.0.self_attn", scale = 5.000000e-01 : f64} : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x8xf32>
    %8 = "lut.float_linear"(%7) {name = "model.layers.0.self_attn.o_proj", weight = @model.layers.0.self_attn.o_proj.weight} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %9 = "lut.float_add"(%0, %8) {name = "model.layers.0.attention"} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
    %10 = "lut.float_norm"(%9) {epsilon = 9.9999999999999995E-7 : f64, gain = @model.layers.0.post_attention_layernorm.weight, groups = 1 : i64, kind = "rms", name = "model.layers.0.post_attention_layernorm"} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %11 = "lut.float_linear"(%10) {name = "model.layers.0.mlp.gate_proj", weight = @model.layers.0.mlp.gate_proj.weight} : (tensor<?x8xf32>) -> tensor<?x12xf32>
    %12 = "lut.float_linear"(%10) {name = "model.layers.0.mlp.up_proj", weight = @model.layers.0.mlp.up_proj.weight} : (tensor<?x8xf32>) -> tensor<?x12xf32>
    %13 = "lut.float_gated"(%11, %12) {activation = "silu", name = "model.layers.0.mlp.act_fn"} : (tensor<?x12xf32>, tensor<?x12xf32>) -> tensor<?x12xf32>
    %14 = "lut.float_linear"(%13) {name = "model.layers.0.mlp.down_proj", weight = @model.layers.0.mlp.down_proj.weight} : (tensor<?x12xf32>) -> tensor<?x8xf32>
    %15 = "lut.float_add"(%9, %14) {name = "model.layers.0.mlp"} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
    %16 = "lut.float_norm"(%15) {epsilon = 9.9999999999999995E-7 : f64, gain = @model.norm.weight, groups = 1 : i64, kind = "rms", name = "model.norm"} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %17 = "lut.float_linear"(%16) {name = "lm_head", weight = @lm_head.weight} : (tensor<?x8xf32>) -> tensor<?x16xf32>
    return %17 : tensor<?x16xf32>
  }
}

