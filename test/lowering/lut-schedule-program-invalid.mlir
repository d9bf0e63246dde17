// RUN: lutllm-opt %s --lut-decompose --lut-place=target=tiny --lut-layout --lut-allocate --lut-schedule --split-input-file --verify-diagnostics
// Two terms of a sum must be exact before they are added.

#x = #lut.fixed<16, @a.input.exponents>
#m = #lut.fixed<16, @b.input.exponents>
#y = #lut.fixed<24, -20>
#n = #lut.fixed<28, -20>
#r = #lut.fixed<26, -16>
#f = #lut.fixed<26, 30>
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @a.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.codes(#ml_program.extern : tensor<4x1x8xi8>) : tensor<4x1x8xi8>
ml_program.global private @a.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @a.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @a.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @b.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @b.codes(#ml_program.extern : tensor<4x1x8xi8>) : tensor<4x1x8xi8>
ml_program.global private @b.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @b.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @b.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @b.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @norm.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y> {
  %0 = "lut.linear"(%x) {scheme = @exact, weights = @a, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y>
  %1 = "lut.rms_norm"(%0) {gain = @norm.gain, groups = 1, epsilon = 40, shift = 12} : (tensor<?x8xi32, #y>) -> tensor<?x8xi32, #n>
  %2 = "lut.rescale"(%1) : (tensor<?x8xi32, #n>) -> tensor<?x8xi16, #m>
  %3 = "lut.linear"(%2) {scheme = @exact, weights = @b, shift = 20} : (tensor<?x8xi16, #m>) -> tensor<?x8xi32, #y>
  // expected-error@+1 {{'lut.cluster' op cannot be scheduled: b: expected exponents at most 47 below and 16 above that of the residual stream after it, 30, got -20; quantize with closer exponents}}
  %4 = "lut.add"(%0, %3) : (tensor<?x8xi32, #y>, tensor<?x8xi32, #y>) -> tensor<?x8xi32, #f>
  %5 = "lut.rms_norm"(%4) {gain = @norm.gain, groups = 1, epsilon = 40, shift = 12} : (tensor<?x8xi32, #f>) -> tensor<?x8xi32, #n>
  %6 = "lut.rescale"(%5) : (tensor<?x8xi32, #n>) -> tensor<?x8xi16, #m>
  %7 = "lut.linear"(%6) {scheme = @exact, weights = @b, shift = 20} : (tensor<?x8xi16, #m>) -> tensor<?x8xi32, #y>
  return %7 : tensor<?x8xi32, #y>
}
