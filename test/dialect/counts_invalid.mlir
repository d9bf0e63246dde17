// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Too few or too many operands, results or regions.

#y = #lut.fixed<24, -6>
func.func @f(%y: tensor<?x6xi32, #y>) {
  // expected-error@+1 {{'lut.dequantize' op expected 1 operand (y), got 0; write each operand the op declares}}
  %0 = "lut.dequantize"() : () -> tensor<?x6xf32>
  return
}

// -----

#y = #lut.fixed<24, -6>
func.func @f(%y: tensor<?x6xi32, #y>) {
  // expected-error@+1 {{'lut.dequantize' op expected 1 result (result), got 0; write each result the op declares}}
  "lut.dequantize"(%y) : (tensor<?x6xi32, #y>) -> ()
  return
}

// -----

#y = #lut.fixed<24, -6>
func.func @f(%y: tensor<?x6xi32, #y>) {
  // expected-error@+1 {{'lut.dequantize' op expected 1 result (result), got 2; write each result the op declares}}
  %0:2 = "lut.dequantize"(%y) : (tensor<?x6xi32, #y>) -> (tensor<?x6xf32>, tensor<?x6xf32>)
  return
}

// -----

func.func @f(%t: tensor<?x4x6xi32>, %p: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.prefix_sum' op expected 1..2 operands (terms, partial), got 3; write each operand the op declares}}
  %0 = "lut.prefix_sum"(%t, %p, %p) : (tensor<?x4x6xi32>, tensor<?x6xi32>, tensor<?x6xi32>) -> tensor<?x6xi32>
  return
}

// -----

#y = #lut.fixed<24, -6>
func.func @f(%y: tensor<?x6xi32, #y>) {
  // expected-error@+1 {{'lut.dequantize' op expected no regions, got 1; remove them}}
  %0 = "lut.dequantize"(%y) ({}) : (tensor<?x6xi32, #y>) -> tensor<?x6xf32>
  return
}
