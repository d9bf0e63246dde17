// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Both sides have the same outputs.

#y = #lut.fixed<24, -6>
func.func @f(%y: tensor<?x6xi32, #y>) {
  // expected-error@+1 {{'lut.dequantize' op expected N of result = 6, got 5; change the type}}
  %0 = "lut.dequantize"(%y) : (tensor<?x6xi32, #y>) -> tensor<?x5xf32>
  return
}
