// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// A task runs on a known engine, and waits for tasks.

func.func @f(%x: tensor<1xi32>) {
  // expected-error@+1 {{'lut.task' op expected engine to be one of linear, feed, norm, residual, store, swiglu, heads, attention, embed, pick, load, save, got "tensor"; change it}}
  %0 = "lut.task"(%x) {engine = "tensor"} : (tensor<1xi32>) -> !lut.token
  return
}

// -----

func.func @f(%x: tensor<1xi32>) {
  // expected-error@+1 {{'lut.task' op expected round in 0..2147483647, got -1; change it}}
  %0 = "lut.task"(%x) {engine = "feed", round = -1} : (tensor<1xi32>) -> !lut.token
  return
}

// -----

func.func @f(%x: tensor<1xi32>) {
  // expected-error@+1 {{'lut.task' op expected tokens of 'lut.task' ops after the first operand, got a block argument; change the operand}}
  %0 = "lut.task"(%x, %x) {engine = "feed"} : (tensor<1xi32>, tensor<1xi32>) -> !lut.token
  return
}

// -----

func.func @f(%t: !lut.token, %x: tensor<1xi32>) {
  // expected-error@+1 {{'lut.task' op expected tokens of 'lut.task' ops after the first operand, got a block argument; change the operand}}
  %0 = "lut.task"(%x, %t) {engine = "feed"} : (tensor<1xi32>, !lut.token) -> !lut.token
  return
}

// -----

func.func @f(%x: tensor<1xi32>) {
  %0 = "builtin.unrealized_conversion_cast"() : () -> !lut.token
  // expected-error@+1 {{'lut.task' op expected tokens of 'lut.task' ops after the first operand, got builtin.unrealized_conversion_cast; change the operand}}
  %1 = "lut.task"(%x, %0) {engine = "feed"} : (tensor<1xi32>, !lut.token) -> !lut.token
  return
}
