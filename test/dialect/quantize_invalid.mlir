// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Both sides have the same channels.

#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{'lut.quantize' op expected K of result = 8, got 6; change the type}}
  %0 = "lut.quantize"(%x) : (tensor<?x8xf32>) -> tensor<?x6xi16, #x>
  return
}
