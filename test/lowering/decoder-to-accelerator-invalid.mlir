// A program that is not the decoder of quantization.json: one error, at the first op that differs.
// RUN: lutllm-opt %S/Inputs/lut-quantize/model.float.mlir --lut-quantize=quantization=%S/Inputs/lut-quantize -o %t.mlir
// RUN: sed 's/shift = 4 : i64, vocabulary/shift = 5 : i64, vocabulary/' %t.mlir | not lutllm-opt --decoder-to-accelerator=quantization=%S/Inputs/lut-quantize 2>&1 | FileCheck %s --check-prefix=SHIFT
// RUN: sed '/@decode/,/return/s/\(lut.attention.*\)%arg1)/\1%arg0)/' %t.mlir | not lutllm-opt --decoder-to-accelerator=quantization=%S/Inputs/lut-quantize 2>&1 | FileCheck %s --check-prefix=OPERAND
// RUN: sed 's/\(@model.*\)k_proj\(.codes.*\)k_proj\(.weight.*\)/\1v_proj\2k_proj\3/' %t.mlir | not lutllm-opt --decoder-to-accelerator=quantization=%S/Inputs/lut-quantize 2>&1 | FileCheck %s --check-prefix=SYMBOL
// RUN: sed 's/@score/@scores/' %t.mlir | not lutllm-opt --decoder-to-accelerator=quantization=%S/Inputs/lut-quantize 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: sed '/@score/,/^  }/d' %t.mlir | not lutllm-opt --decoder-to-accelerator=quantization=%S/Inputs/lut-quantize 2>&1 | FileCheck %s --check-prefix=FUNCTION
// RUN: sed 's/"parameters.safetensors", "01/"parameters.safetensors", "02/' %t.mlir | not lutllm-opt --decoder-to-accelerator=quantization=%S/Inputs/lut-quantize 2>&1 | FileCheck %s --check-prefix=STORE
// RUN: not lutllm-opt %t.mlir --decoder-to-accelerator="quantization=%S/Inputs/lut-quantize context=9" 2>&1 | FileCheck %s --check-prefix=CONTEXT
// RUN: not lutllm-opt %t.mlir --decoder-to-accelerator 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not lutllm-opt %t.mlir --decoder-to-accelerator="target=huge" 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not lutllm-opt %t.mlir --decoder-to-accelerator="context=-1" 2>&1 | FileCheck %s --check-prefix=NEGATIVE
// RUN: not lutllm-opt %S/Inputs/lut-quantize/model.float.mlir --decoder-to-accelerator=quantization=%S/Inputs/lut-quantize 2>&1 | FileCheck %s --check-prefix=TORCH

// SHIFT: error: 'lut.embedding' op expected attribute shift 4 : i64, as '{{.*}}lut-quantize' describes the decoder, got 5 : i64; lower the model it was made for
// OPERAND: error: 'lut.attention' op expected operand 3 %arg1, as {{.*}}, got %arg0; lower the model it was made for
// SYMBOL: error: 'lut.linear' op expected attribute codes @model.layers.0.self_attn.k_proj.codes, as {{.*}}, got @model.layers.0.self_attn.v_proj.codes
// NAME: error: 'func.func' op expected prefill, decode, score only, got @scores; remove it
// FUNCTION: error: 'builtin.module' op expected function @score of the decoder, got none; run lut-quantize first
// STORE: error: 'builtin.module' op expected attribute lut.store #lut.store<"parameters.safetensors", "01{{.*}}got #lut.store<"parameters.safetensors", "02
// CONTEXT: error: 'builtin.module' op expected a context of at most 8 tokens, the program's, got 9; shorten it
// NONE: error: decoder-to-accelerator: expected quantization=DIRECTORY, got none; name the quantizer's output
// TARGET: error: {{.*}}expected a target among tiny, small, got 'huge'
// NEGATIVE: error: {{.*}}expected context >= 0, got -1
// TORCH: error: 'builtin.module' op expected @prefill of a whole decoder, with KV caches, got none; run lut-quantize first
