// RUN: lutllm-opt %s --lut-decompose="row-source=stored_table" --verify-diagnostics
#x = #lut.fixed<16, @x.exponents>
#y = #lut.fixed<24, -9>
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 4, c_w = 16, G = 8, R = 1, S = 1, metric = "l2", x_bits = 16, act_bits = 16,
  weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.exponents(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
ml_program.global private @x.codebook(#ml_program.extern : tensor<2x1x4x2xi16>) : tensor<2x1x4x2xi16>
ml_program.global private @q.codes(#ml_program.extern : tensor<2x1x5xi8>) : tensor<2x1x5xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<2x1x1x16x2xi8>) : tensor<2x1x1x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<2x2xi8>) : tensor<2x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<5xi32>) : tensor<5xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<5xi32>) : tensor<5xi32>

func.func @no_tables(%x: tensor<?x4xi16, #x>) -> tensor<?x5xi32, #y> {
  // expected-error@+1 {{'lut.linear' op expected attribute 'tables' for row-source=stored_table, got none; choose another}}
  %0 = "lut.linear"(%x) {scheme = @vq, weights = @q, shift = 20, codebook = @x.codebook}
    : (tensor<?x4xi16, #x>) -> tensor<?x5xi32, #y>
  return %0 : tensor<?x5xi32, #y>
}
