// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Parameters of #lut.fixed are an integer and an integer or symbol: IRDL checks them.

// expected-error@+1 {{expected 2 type arguments, but had 1}}
func.func private @f(tensor<?x8xi16, #lut.fixed<16>>)

// -----

// expected-error@+1 {{expected base attribute 'builtin.integer' but got 'builtin.string'}}
func.func private @f(tensor<?x8xi16, #lut.fixed<"16", 3>>)

// -----

#y = #lut.fixed<24 : i128, -6>
func.func @f(%y: tensor<?x6xi32, #y>) {
  // expected-error@+1 {{'lut.dequantize' op expected y to be tensor<...xNxi32, #lut.fixed<...>>}}
  %0 = "lut.dequantize"(%y) : (tensor<?x6xi32, #y>) -> tensor<?x6xf32>
  return
}
