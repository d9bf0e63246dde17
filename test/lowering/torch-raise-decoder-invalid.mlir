// Models that are no decoder lut ops compute, or another one than was quantized: one error, at the first op that differs.
// RUN: lutllm-opt %s --torch-raise-decoder=quantization=%S/Inputs/torch-raise-decoder --split-input-file --verify-diagnostics

// expected-error@+1 {{expected a function with the model, got none; import the whole model}}
module {}

// -----

func.func @gelu(%ids: !torch.vtensor<[1,3],si64>, %x: !torch.vtensor<[1,3],f32>) -> !torch.vtensor<[1,3],f32> {
  %none = torch.constant.str "none"
  // expected-error@+1 {{'torch.aten.gelu' op: expected an op of RMSNorm, RoPE, attention, SiLU or a sum, got another; no lut op computes it; `lutllm check` lists them all}}
  %y = torch.aten.gelu %x, %none : !torch.vtensor<[1,3],f32>, !torch.str -> !torch.vtensor<[1,3],f32>
  return %y : !torch.vtensor<[1,3],f32>
}

// -----

func.func @two_inputs(%ids: !torch.vtensor<[1,3],si64>, %positions: !torch.vtensor<[1,3],si64>) -> !torch.vtensor<[1,3],si64> {
  %int1 = torch.constant.int 1
  // expected-error@+1 {{expected a sum of two values of one shape, of the two products of RoPE, or of scores and the causal mask, got integers plus integers}}
  %y = torch.aten.add.Tensor %ids, %positions, %int1 : !torch.vtensor<[1,3],si64>, !torch.vtensor<[1,3],si64>, !torch.int -> !torch.vtensor<[1,3],si64>
  return %y : !torch.vtensor<[1,3],si64>
}

// -----

func.func @nothing(%ids: !torch.vtensor<[1,3],si64>) -> !torch.vtensor<[1,3],si64> {
  // expected-error@+1 {{'func.return' op: expected rows of all channels of one token each as a result, got integers [1, 3]}}
  return %ids : !torch.vtensor<[1,3],si64>
}
