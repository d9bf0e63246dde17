// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// A norm's kind, epsilon and groups; names; any tensor is tokens by channels.

func.func @f(%a: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_norm' op expected kind to be one of rms, layer, got 'batch'; change it}}
  %0 = "lut.float_norm"(%a) {name = "n", gain = @n.weight, kind = "batch", epsilon = 1.0e-5, groups = 1} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_norm' op expected epsilon >= 0, got -1.0; change it}}
  %0 = "lut.float_norm"(%a) {name = "n", gain = @n.weight, kind = "rms", epsilon = -1.0, groups = 1} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_norm' op expected a finite epsilon, got nan; change it}}
  %0 = "lut.float_norm"(%a) {name = "n", gain = @n.weight, kind = "rms", epsilon = 0x7FF8000000000000 : f64, groups = 1} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_norm' op expected attribute 'epsilon' to be an f64 number, got 1.000000e+00 : f32; change it}}
  %0 = "lut.float_norm"(%a) {name = "n", gain = @n.weight, kind = "rms", epsilon = 1.0 : f32, groups = 1} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_norm' op expected attribute 'epsilon' to be an f64 number, got 1 : i64; change it}}
  %0 = "lut.float_norm"(%a) {name = "n", gain = @n.weight, kind = "rms", epsilon = 1, groups = 1} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_norm' op expected groups to divide the channels of x, 8, got 3; change either}}
  %0 = "lut.float_norm"(%a) {name = "n", gain = @n.weight, kind = "rms", epsilon = 1.0e-5, groups = 3} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_norm' op expected K of y = 8, got 6; change the type}}
  %0 = "lut.float_norm"(%a) {name = "n", gain = @n.weight, kind = "rms", epsilon = 1.0e-5, groups = 1} : (tensor<?x8xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @f(%a: tensor<2x?x8xf32>) {
  // expected-error@+1 {{'lut.float_norm' op expected x to be tensor<TxKxf32>, got tensor<2x?x8xf32>; change the type}}
  %0 = "lut.float_norm"(%a) {name = "n", gain = @n.weight, kind = "rms", epsilon = 1.0e-5, groups = 1} : (tensor<2x?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xbf16>) {
  // expected-error@+1 {{'lut.float_norm' op expected x to be tensor<TxKxf32>, got tensor<?x8xbf16>; change the type}}
  %0 = "lut.float_norm"(%a) {name = "n", gain = @n.weight, kind = "rms", epsilon = 1.0e-5, groups = 1} : (tensor<?x8xbf16>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_norm' op expected a name, the module path of the op, got ""; give it one}}
  %0 = "lut.float_norm"(%a) {name = "", gain = @n.weight, kind = "rms", epsilon = 1.0e-5, groups = 1} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_norm' op requires attribute 'name' (a string): got none; add it}}
  %0 = "lut.float_norm"(%a) {gain = @n.weight, kind = "rms", epsilon = 1.0e-5, groups = 1} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_norm' op expected a finite offset, got inf; change it}}
  %0 = "lut.float_norm"(%a) {name = "n", gain = @n.weight, kind = "rms", epsilon = 1.0e-5, groups = 1, offset = 0x7FF0000000000000 : f64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}
