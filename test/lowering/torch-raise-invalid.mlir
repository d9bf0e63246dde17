// What no lut op computes is an error at its op, with the number of all; nothing is raised in part.
// RUN: lutllm-opt %s --torch-raise --split-input-file --verify-diagnostics

// expected-error@+1 {{expected one function with the model, got none; import the whole model}}
module {}

// -----

func.func @f(%x: !torch.vtensor<[3,4],f32>) -> !torch.vtensor<[3,4],f32> {
  return %x : !torch.vtensor<[3,4],f32>
}
// expected-error@+1 {{expected one function with the model, got @f, @g; import the whole model}}
func.func @g(%x: !torch.vtensor<[3,4],f32>) -> !torch.vtensor<[3,4],f32> {
  return %x : !torch.vtensor<[3,4],f32>
}

// -----

func.func @sigmoid(%x: !torch.vtensor<[1,3,4],f32>) -> !torch.vtensor<[1,3,4],f32> {
  // expected-error@+1 {{1 op cannot be raised: 'torch.aten.sigmoid' op: expected an op of a norm, RoPE, attention, an activation or a sum, got another function; it would take a table of it, as those of silu, gelu and tanh; `lutllm check` lists them all}}
  %y = torch.aten.sigmoid %x : !torch.vtensor<[1,3,4],f32> -> !torch.vtensor<[1,3,4],f32>
  return %y : !torch.vtensor<[1,3,4],f32>
}

// -----

// The second follows from the first, and is counted, not shown.
func.func @two(%x: !torch.vtensor<[1,3,4],f32>) -> !torch.vtensor<[1,3,4],f32> {
  // expected-error@+1 {{2 ops cannot be raised: 'torch.aten.sigmoid' op: expected an op of a norm}}
  %0 = torch.aten.sigmoid %x : !torch.vtensor<[1,3,4],f32> -> !torch.vtensor<[1,3,4],f32>
  %1 = torch.aten.silu %0 : !torch.vtensor<[1,3,4],f32> -> !torch.vtensor<[1,3,4],f32>
  return %1 : !torch.vtensor<[1,3,4],f32>
}

// -----

// A square that no norm takes the mean of.
func.func @part(%x: !torch.vtensor<[1,3,4],f32>) -> !torch.vtensor<[1,3,4],f32> {
  %int2 = torch.constant.int 2
  // expected-error@+1 {{1 op cannot be raised: 'torch.aten.pow.Tensor_Scalar' op: expected rows of all channels of one token each as a result, got square [1, 3, 4]}}
  %0 = torch.aten.pow.Tensor_Scalar %x, %int2 : !torch.vtensor<[1,3,4],f32>, !torch.int -> !torch.vtensor<[1,3,4],f32>
  return %0 : !torch.vtensor<[1,3,4],f32>
}

// -----

// Tokens and channels exchanged.
func.func @turned(%x: !torch.vtensor<[1,3,4],f32>) -> !torch.vtensor<[1,4,3],f32> {
  %int1 = torch.constant.int 1
  %int2 = torch.constant.int 2
  %0 = torch.aten.transpose.int %x, %int1, %int2 : !torch.vtensor<[1,3,4],f32>, !torch.int, !torch.int -> !torch.vtensor<[1,4,3],f32>
  // expected-error@+1 {{1 op cannot be raised: 'func.return' op: expected rows of all channels of one token each as a result, got an input [1, 4, 3]}}
  return %0 : !torch.vtensor<[1,4,3],f32>
}

// -----

func.func @shapes(%x: !torch.vtensor<[1,3,4],f32>, %y: !torch.vtensor<[1,1,4],f32>) -> !torch.vtensor<[1,3,4],f32> {
  %int1 = torch.constant.int 1
  // expected-error@+1 {{'torch.aten.add.Tensor' op: expected a sum of two values of one shape, of the two products of RoPE, or of scores and the causal mask, got an input plus an input}}
  %0 = torch.aten.add.Tensor %x, %y, %int1 : !torch.vtensor<[1,3,4],f32>, !torch.vtensor<[1,1,4],f32>, !torch.int -> !torch.vtensor<[1,3,4],f32>
  return %0 : !torch.vtensor<[1,3,4],f32>
}

// -----

// A batch of two is no row of tokens.
func.func @batch(%x: !torch.vtensor<[2,3,4],f32>) -> !torch.vtensor<[2,3,4],f32> {
  %int1 = torch.constant.int 1
  // expected-error@+1 {{got another input of the model plus another input of the model}}
  %0 = torch.aten.add.Tensor %x, %x, %int1 : !torch.vtensor<[2,3,4],f32>, !torch.vtensor<[2,3,4],f32>, !torch.int -> !torch.vtensor<[2,3,4],f32>
  return %0 : !torch.vtensor<[2,3,4],f32>
}

// -----

// One tensor of integers cannot be ids and positions.
ml_program.global private @e(#ml_program.extern : tensor<9x4xf32>) : tensor<9x4xf32>
ml_program.global private @f(#ml_program.extern : tensor<2xf32>) : tensor<2xf32>
func.func @both(%ids: !torch.vtensor<[1,3],si64>) -> !torch.vtensor<[1,3,4],f32> {
  %false = torch.constant.bool false
  %last = torch.constant.int -1
  %int2 = torch.constant.int 2
  %none = torch.constant.none
  %int6 = torch.constant.int 6
  %w = ml_program.global_load_const @e : tensor<9x4xf32>
  %weight = torch_c.from_builtin_tensor %w : tensor<9x4xf32> -> !torch.vtensor<[9,4],f32>
  %f = ml_program.global_load_const @f : tensor<2xf32>
  %frequencies = torch_c.from_builtin_tensor %f : tensor<2xf32> -> !torch.vtensor<[2],f32>
  %x = torch.aten.embedding %weight, %ids, %last, %false, %false : !torch.vtensor<[9,4],f32>, !torch.vtensor<[1,3],si64>, !torch.int, !torch.bool, !torch.bool -> !torch.vtensor<[1,3,4],f32>
  %0 = torch.aten.unsqueeze %ids, %int2 : !torch.vtensor<[1,3],si64>, !torch.int -> !torch.vtensor<[1,3,1],si64>
  %1 = torch.aten.to.dtype %0, %int6, %false, %false, %none : !torch.vtensor<[1,3,1],si64>, !torch.int, !torch.bool, !torch.bool, !torch.none -> !torch.vtensor<[1,3,1],f32>
  %2 = torch.aten.mul.Tensor %1, %frequencies : !torch.vtensor<[1,3,1],f32>, !torch.vtensor<[2],f32> -> !torch.vtensor<[1,3,2],f32>
  %3 = torch.prim.ListConstruct %2, %2 : (!torch.vtensor<[1,3,2],f32>, !torch.vtensor<[1,3,2],f32>) -> !torch.list<vtensor>
  %4 = torch.aten.cat %3, %last : !torch.list<vtensor>, !torch.int -> !torch.vtensor<[1,3,4],f32>
  // expected-error@+1 {{1 op cannot be raised: 'torch.aten.cos' op: expected an input of positions alone, got one that is read as ids too}}
  %5 = torch.aten.cos %4 : !torch.vtensor<[1,3,4],f32> -> !torch.vtensor<[1,3,4],f32>
  return %x : !torch.vtensor<[1,3,4],f32>
}
