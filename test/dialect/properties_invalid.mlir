// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Attributes are written in {}, not <{}>.

#y = #lut.fixed<24, -6>
func.func @f(%y: tensor<?x6xi32, #y>) {
  // expected-error@+1 {{invalid properties {note = 1 : i64} for op lut.dequantize}}
  %0 = "lut.dequantize"(%y) <{note = 1}> : (tensor<?x6xi32, #y>) -> tensor<?x6xf32>
  return
}
