// What has no integer form, or no constants, is named where it stands; several at once.
// RUN: lutllm-opt %s --lut-quantize=quantization=%S/Inputs/lut-quantize/parts.json --split-input-file --verify-diagnostics
// RUN: not lutllm-opt %S/Inputs/lut-quantize/model.float.mlir --lut-quantize 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not lutllm-opt %S/Inputs/lut-quantize/model.float.mlir --lut-quantize="quantization=%S/Inputs/lut-quantize context=9" 2>&1 | FileCheck %s --check-prefix=CONTEXT
// NONE: error: lut-quantize: expected quantization=DIRECTORY, got none; name the quantizer's output
// CONTEXT: error: {{.*}}expected a context of 1..8 tokens, as the RoPE tables have positions, got 9

// expected-error@+1 {{expected a function @forward of the float level, got @main; raise the model first}}
module {
  func.func @main() {
    return
  }
}

// -----

ml_program.global private @w(#ml_program.extern : tensor<8x8xf32>) : tensor<8x8xf32>
func.func @forward(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error@+1 {{'lut.float_linear' op expected quantized parameters of 'unknown', got none; quantize the whole model}}
  %0 = "lut.float_linear"(%x) {name = "unknown", weight = @w} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

ml_program.global private @w(#ml_program.extern : tensor<12x6xf32>) : tensor<12x6xf32>
func.func @forward(%x: tensor<?x6xf32>) -> tensor<?x12xf32> {
  // expected-error@+1 {{expected quantized parameters for 6 inputs and 12 outputs, got 8 and 12; quantize this model again}}
  %0 = "lut.float_linear"(%x) {name = "gate", weight = @w} : (tensor<?x6xf32>) -> tensor<?x12xf32>
  return %0 : tensor<?x12xf32>
}

// -----

ml_program.global private @w(#ml_program.extern : tensor<12x8xf32>) : tensor<12x8xf32>
ml_program.global private @g(#ml_program.extern : tensor<12xf32>) : tensor<12xf32>
func.func @forward(%x: tensor<?x8xf32>) -> tensor<?x12xf32> {
  %0 = "lut.float_linear"(%x) {name = "gate", weight = @w} : (tensor<?x8xf32>) -> tensor<?x12xf32>
  // expected-error@+1 {{'lut.float_norm' op expected quantized parameters of 'sum', got none}}
  %1 = "lut.float_norm"(%0) {name = "sum", gain = @g, kind = "rms", epsilon = 1.0e-06, groups = 1} : (tensor<?x12xf32>) -> tensor<?x12xf32>
  return %1 : tensor<?x12xf32>
}

// -----

ml_program.global private @w(#ml_program.extern : tensor<4x3xf32>) : tensor<4x3xf32>
func.func @forward(%x: tensor<?x3xf32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{'lut.float_linear' op expected an even number of inputs (pairs), got 3; pad the input and the weight by a zero}}
  %0 = "lut.float_linear"(%x) {name = "odd", weight = @w} : (tensor<?x3xf32>) -> tensor<?x4xf32>
  return %0 : tensor<?x4xf32>
}

// -----

ml_program.global private @w(#ml_program.extern : tensor<8x8xf32>) : tensor<8x8xf32>
ml_program.global private @g(#ml_program.extern : tensor<8xf32>) : tensor<8xf32>
func.func @forward(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error@+1 {{expected x of an embedding, a norm, a linear, RoPE or a sum, got an argument, whose exponents are those of the linear that reads it; put a linear between}}
  %0 = "lut.float_norm"(%x) {name = "norm", gain = @g, kind = "rms", epsilon = 1.0e-06, groups = 1} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %1 = "lut.float_linear"(%x) {name = "other", weight = @w} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // expected-error@+1 {{'lut.float_gated' op expected a linear to read its result, whose exponents are that linear's, got none; end in a linear}}
  %2 = "lut.float_gated"(%0, %1) {name = "gated", activation = "silu"} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  // expected-error@+1 {{expected a of an embedding, a norm, a linear, RoPE or a sum, got 'lut.float_gated', whose exponents}}
  %3 = "lut.float_add"(%2, %1) {name = "sum"} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %3 : tensor<?x8xf32>
}

// -----

// expected-error@+2 {{'func.func' op expected a linear to read argument 0, whose exponents are that linear's, got none; end in a linear}}
// expected-error@+1 {{expected result 0 of an embedding, a norm, a linear, RoPE or a sum, got an argument, whose exponents}}
func.func @forward(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  return %x : tensor<?x8xf32>
}
