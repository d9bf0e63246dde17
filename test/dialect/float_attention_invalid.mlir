// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Heads divide channels, evenly for RoPE; keys and values have as many channels as heads of keys.

func.func @f(%a: tensor<?x8xf32>, %p: tensor<1xi32>) {
  // expected-error@+1 {{'lut.float_rope' op expected heads to divide the channels of x, 8, got 3; change either}}
  %0 = "lut.float_rope"(%a, %p) {name = "r", frequencies = @f, heads = 3, scale = 1.0} : (tensor<?x8xf32>, tensor<1xi32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>, %p: tensor<1xi32>) {
  // expected-error@+1 {{'lut.float_rope' op expected an even number of rotated channels in a head, got 1; change it}}
  %0 = "lut.float_rope"(%a, %p) {name = "r", frequencies = @f, heads = 8, scale = 1.0} : (tensor<?x8xf32>, tensor<1xi32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>, %p: tensor<1xi32>) {
  // expected-error@+1 {{'lut.float_rope' op expected scale > 0, got 0.0; change it}}
  %0 = "lut.float_rope"(%a, %p) {name = "r", frequencies = @f, heads = 2, scale = 0.0} : (tensor<?x8xf32>, tensor<1xi32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>, %p: tensor<1xi32>) {
  // expected-error@+1 {{'lut.float_rope' op expected K of y = 8, got 4; change the type}}
  %0 = "lut.float_rope"(%a, %p) {name = "r", frequencies = @f, heads = 2, scale = 1.0} : (tensor<?x8xf32>, tensor<1xi32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>, %b: tensor<?x4xf32>, %c: tensor<?x4xf32>) {
  // expected-error@+1 {{'lut.float_attention' op expected kv_heads to divide heads, 4, got 3; change either}}
  %0 = "lut.float_attention"(%a, %b, %c) {name = "a", heads = 4, kv_heads = 3, scale = 0.5} : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>, %b: tensor<?x4xf32>, %c: tensor<?x4xf32>) {
  // expected-error@+1 {{'lut.float_attention' op expected channels of keys, in heads as wide as those of query, = 8, got 4; change the type}}
  %0 = "lut.float_attention"(%a, %b, %c) {name = "a", heads = 4, kv_heads = 4, scale = 0.5} : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>, %b: tensor<?x4xf32>, %c: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_attention' op expected K_kv of values = 4, got 8; change the type}}
  %0 = "lut.float_attention"(%a, %b, %c) {name = "a", heads = 4, kv_heads = 2, scale = 0.5} : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>, %b: tensor<?x4xf32>, %c: tensor<?x4xf32>) {
  // expected-error@+1 {{'lut.float_attention' op expected K of y = 8, got 6; change the type}}
  %0 = "lut.float_attention"(%a, %b, %c) {name = "a", heads = 4, kv_heads = 2, scale = 0.5} : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>, %b: tensor<3x4xf32>, %c: tensor<?x4xf32>) {
  // expected-error@+1 {{'lut.float_attention' op expected keys to have the leading dimensions of query, [?], got [3]; change the type}}
  %0 = "lut.float_attention"(%a, %b, %c) {name = "a", heads = 4, kv_heads = 2, scale = 0.5} : (tensor<?x8xf32>, tensor<3x4xf32>, tensor<?x4xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>, %b: tensor<?x4xf32>, %c: tensor<?x4xf32>) {
  // expected-error@+1 {{'lut.float_attention' op expected scale > 0, got -1.0; change it}}
  %0 = "lut.float_attention"(%a, %b, %c) {name = "a", heads = 4, kv_heads = 2, scale = -1.0} : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>, %b: tensor<?x4xf32>) {
  // expected-error@+1 {{'lut.float_attention' op expected window in 1..2147483647, got 0; change it}}
  %0 = "lut.float_attention"(%a, %b, %b) {name = "a", heads = 4, kv_heads = 2, scale = 0.5, window = 0} : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>, %b: tensor<?x4xf32>) {
  // expected-error@+1 {{'lut.float_attention' op expected softcap > 0, got 0.0; change it}}
  %0 = "lut.float_attention"(%a, %b, %b) {name = "a", heads = 4, kv_heads = 2, scale = 0.5, softcap = 0.0} : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%a: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.float_tanh' op expected scale > 0, got -3.0; change it}}
  %0 = "lut.float_tanh"(%a) {name = "softcap", scale = -3.0} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}
