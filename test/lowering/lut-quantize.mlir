// A Llama in floats becomes three functions over one KV cache.
// RUN: lutllm-opt %S/Inputs/lut-quantize/model.float.mlir --lut-quantize="quantization=%S/Inputs/lut-quantize context=6" --mlir-print-debuginfo | FileCheck %s
// RUN: lutllm-opt %S/Inputs/lut-quantize/model.float.mlir --lut-quantize=quantization=%S/Inputs/lut-quantize/quantization.json | FileCheck %s --check-prefix=ALL

// CHECK: module attributes {lut.store = #lut.store<"parameters.safetensors", "0123456789abcdef{{.*}}">}
// CHECK-NOT: float
// CHECK: func.func @prefill(%{{.*}}: tensor<?xi32> loc("ids"), %[[P:.*]]: tensor<1xi32> loc("position"), %[[K:.*]]: tensor<6x4xi8, #lut.fixed<8 : i64, @model.layers.0.self_attn.key.exponents>> loc("model.layers.0.self_attn.keys"), %[[V:.*]]: tensor<6x4xi8, #lut.fixed<8 : i64, @model.layers.0.self_attn.value.exponents>> loc(
// CHECK-NEXT: %[[X:.*]] = "lut.embedding"({{.*}} rows = @model.embed_tokens.rows
// CHECK-NEXT: %[[N:.*]] = "lut.rms_norm"(%[[X]]) {{.*}} gain = @model.layers.0.input_layernorm.gain
// CHECK-NEXT: %[[I:.*]] = "lut.rescale"(%[[N]])
// CHECK-NEXT: %[[Q:.*]] = "lut.linear"(%[[I]]) {{.*}} weights = @model.layers.0.self_attn.q_proj}{{.*}} loc(#[[LOC:.*]])
// CHECK-NEXT: %[[QR:.*]] = "lut.rope"(%[[Q]], %[[P]]) {{{.*}} heads = 2
// CHECK-NEXT: %[[KL:.*]] = "lut.linear"(%[[I]]) {{.*}} weights = @model.layers.0.self_attn.k_proj}
// CHECK-NEXT: %[[KR:.*]] = "lut.rope"(%[[KL]], %[[P]]) {{{.*}} heads = 1
// CHECK-NEXT: %[[VL:.*]] = "lut.linear"(%[[I]]) {{.*}} weights = @model.layers.0.self_attn.v_proj}
// CHECK-NEXT: %[[QE:.*]] = "lut.rescale"(%[[QR]])
// CHECK-NEXT: %[[KE:.*]] = "lut.rescale"(%[[KR]])
// CHECK-NEXT: %[[VE:.*]] = "lut.rescale"(%[[VL]])
// CHECK-NEXT: %[[KC:.*]] = "lut.append"(%[[K]], %[[KE]], %[[P]])
// CHECK-NEXT: %[[VC:.*]] = "lut.append"(%[[V]], %[[VE]], %[[P]])
// CHECK-NEXT: %[[A:.*]] = "lut.attention"(%[[QE]], %[[KC]], %[[VC]], %[[P]]) {heads = 2 : i64, kv_heads = 1
// CHECK-NEXT: %[[O:.*]] = "lut.linear"(%[[A]]) {{.*}} weights = @model.layers.0.self_attn.o_proj}
// CHECK-NEXT: %[[R:.*]] = "lut.add"(%[[X]], %[[O]])
// CHECK: %[[G:.*]] = "lut.linear"({{.*}} weights = @model.layers.0.mlp.gate_proj}
// CHECK-NEXT: %[[U:.*]] = "lut.linear"({{.*}} weights = @model.layers.0.mlp.up_proj}
// CHECK-NEXT: %[[S:.*]] = "lut.swiglu"(%[[G]], %[[U]])
// CHECK-NEXT: %[[D:.*]] = "lut.linear"(%[[S]])
// CHECK-NEXT: %[[Y:.*]] = "lut.add"(%[[R]], %[[D]])
// CHECK-NEXT: "lut.last_token"(%[[Y]])
// CHECK: %[[L:.*]] = "lut.linear"({{.*}} weights = @lm_head}
// CHECK-NEXT: %[[T:.*]] = "lut.argmax"(%[[L]])
// CHECK-NEXT: return %[[T]], %[[L]], %[[KC]], %[[VC]] :
// CHECK: func.func @decode(%{{.*}}: tensor<1xi32> loc("ids")
// CHECK: func.func @score(%{{.*}}: tensor<?xi32> loc("ids")
// CHECK-NOT: lut.last_token
// CHECK-NOT: lut.argmax
// CHECK: -> tensor<?x16xi32
// CHECK: #[[LOC]] = loc("model.layers.0.self_attn.q_proj")

// Without a context the cache holds as many tokens as RoPE has positions.
// ALL: func.func @prefill(%{{.*}}: tensor<?xi32>, %{{.*}}: tensor<1xi32>, %{{.*}}: tensor<8x4xi8,
