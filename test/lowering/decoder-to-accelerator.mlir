// torch -> lut -> accelerator for a whole model; every task carries its PyTorch module.
// RUN: lutllm-opt %S/Inputs/lut-quantize/model.float.mlir --lut-quantize="quantization=%S/Inputs/lut-quantize context=6" --decoder-to-accelerator="quantization=%S/Inputs/lut-quantize target=tiny context=5" --mlir-print-debuginfo | FileCheck %s
// RUN: lutllm-opt %S/Inputs/lut-quantize/model.float.mlir --lut-quantize=quantization=%S/Inputs/lut-quantize --lut-canonicalize --cse --decoder-to-accelerator=quantization=%S/Inputs/lut-quantize/quantization.json | FileCheck %s --check-prefix=ALL

// CHECK: module attributes {lut.store = #lut.store<"parameters.safetensors", "0123456789abcdef{{.*}}">}
// CHECK-NEXT: "lut.engine"() {{.*}} lanes = 8
// CHECK-NEXT: "lut.accelerator"() {context = 5 : i64,
// CHECK-NEXT: "lut.plan"() {accelerator = @accelerator, context = 5 : i64, decoder = "{{[0-9a-f]+}}", {{.*}} vocabulary = 16
// CHECK-NOT: func.func
// CHECK-NOT: ml_program
// CHECK: "lut.region"() {{.*}} sym_name = "model.embed_tokens.e"
// CHECK: "lut.round"() {{.*}} linear = "model.layers.0.self_attn.q_proj"{{.*}} loc(#[[LOC:.*]])
// CHECK: "lut.buffer"() {{.*}} memory = "r"
// CHECK: "lut.task"() {engine = "linear", {{.*}} program = "prefill"
// CHECK: "lut.task"() {{.*}}engine = "attention", {{.*}} program = "decode"
// CHECK: "lut.task"() {{.*}}engine = "pick", {{.*}} program = "head"
// CHECK: #[[LOC]] = loc("model.layers.0.self_attn.q_proj")

// Without a context the caches hold as many tokens as the program's.
// ALL: "lut.plan"() {accelerator = @accelerator, context = 8 : i64
