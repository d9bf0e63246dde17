// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Leading dimensions are tokens: at least one, and the same on both sides.

#y = #lut.fixed<24, -6>
func.func @f(%y: tensor<6xi32, #y>) {
  // expected-error@+1 {{'lut.dequantize' op expected y to be tensor<...xNxi32, #lut.fixed<...>>}}
  %0 = "lut.dequantize"(%y) : (tensor<6xi32, #y>) -> tensor<?x6xf32>
  return
}

// -----

#y = #lut.fixed<24, -6>
func.func @f(%y: tensor<?x6xi32, #y>) {
  // expected-error@+1 {{'lut.dequantize' op expected result to have the leading dimensions of y, [?], got [4]; change the type}}
  %0 = "lut.dequantize"(%y) : (tensor<?x6xi32, #y>) -> tensor<4x6xf32>
  return
}

// -----

func.func @f(%t: tensor<?x4x6xi32>, %p: tensor<?x2x6xi32>) {
  // expected-error@+1 {{'lut.prefix_sum' op expected partial to have the leading dimensions of terms, [?], got [?, 2]; change the type}}
  %0 = "lut.prefix_sum"(%t, %p) : (tensor<?x4x6xi32>, tensor<?x2x6xi32>) -> tensor<?x6xi32>
  return
}
