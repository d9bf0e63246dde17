// Linears that were quantized but cannot be converted: one error, at the linear.
// RUN: lutllm-opt %s --torch-to-lut=quantization=%S/Inputs/torch-to-lut --split-input-file --verify-diagnostics

ml_program.global private @mlp.gate.weight(#ml_program.extern : tensor<6x7xf32>) : tensor<6x7xf32>
func.func @odd_width(%x: !torch.vtensor<[5,7],f32>) -> !torch.vtensor<[5,6],f32> {
  %none = torch.constant.none
  %w = ml_program.global_load_const @mlp.gate.weight : tensor<6x7xf32>
  %weight = torch_c.from_builtin_tensor %w : tensor<6x7xf32> -> !torch.vtensor<[6,7],f32>
  // expected-error@+1 {{'torch.aten.linear' op 'mlp.gate': expected an even input width (whole pairs), got 7; pad the input and the weight by a zero}}
  %y = torch.aten.linear %x, %weight, %none : !torch.vtensor<[5,7],f32>, !torch.vtensor<[6,7],f32>, !torch.none -> !torch.vtensor<[5,6],f32>
  return %y : !torch.vtensor<[5,6],f32>
}

// -----

ml_program.global private @mlp.gate.weight(#ml_program.extern : tensor<4x8xf32>) : tensor<4x8xf32>
func.func @other_model(%x: !torch.vtensor<[5,8],f32>) -> !torch.vtensor<[5,4],f32> {
  %none = torch.constant.none
  %w = ml_program.global_load_const @mlp.gate.weight : tensor<4x8xf32>
  %weight = torch_c.from_builtin_tensor %w : tensor<4x8xf32> -> !torch.vtensor<[4,8],f32>
  // expected-error@+1 {{expected quantized parameters for 8 inputs and 4 outputs, got 8 and 6; quantize this model again}}
  %y = torch.aten.linear %x, %weight, %none : !torch.vtensor<[5,8],f32>, !torch.vtensor<[4,8],f32>, !torch.none -> !torch.vtensor<[5,4],f32>
  return %y : !torch.vtensor<[5,4],f32>
}

// -----

ml_program.global private @mlp.gate.weight(#ml_program.extern : tensor<6x8xf32>) : tensor<6x8xf32>
func.func @no_tokens(%x: !torch.vtensor<[8],f32>) -> !torch.vtensor<[6],f32> {
  %none = torch.constant.none
  %w = ml_program.global_load_const @mlp.gate.weight : tensor<6x8xf32>
  %weight = torch_c.from_builtin_tensor %w : tensor<6x8xf32> -> !torch.vtensor<[6,8],f32>
  // expected-error@+1 {{expected an input with a dimension of tokens, got a vector; use shape [1, inputs]}}
  %y = torch.aten.linear %x, %weight, %none : !torch.vtensor<[8],f32>, !torch.vtensor<[6,8],f32>, !torch.none -> !torch.vtensor<[6],f32>
  return %y : !torch.vtensor<[6],f32>
}

// -----

ml_program.global private @mlp.gate.weight(#ml_program.extern : tensor<6x8xf64>) : tensor<6x8xf64>
func.func @element_type(%x: !torch.vtensor<[5,8],f64>) -> !torch.vtensor<[5,6],f64> {
  %none = torch.constant.none
  %w = ml_program.global_load_const @mlp.gate.weight : tensor<6x8xf64>
  %weight = torch_c.from_builtin_tensor %w : tensor<6x8xf64> -> !torch.vtensor<[6,8],f64>
  // expected-error@+1 {{expected tensors of f32, bf16, f16, got !torch.vtensor<[5,8],f64>; convert the module}}
  %y = torch.aten.linear %x, %weight, %none : !torch.vtensor<[5,8],f64>, !torch.vtensor<[6,8],f64>, !torch.none -> !torch.vtensor<[5,6],f64>
  return %y : !torch.vtensor<[5,6],f64>
}
