// RUN: lutllm-opt %s --split-input-file --lut-to-accelerator="target=tiny tokens=4" --verify-diagnostics
// What is not a whole decomposed linear, and where.

#x = #lut.fixed<16, @x.exponents>
#y = #lut.fixed<24, -9>
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 1024, R = 1, S = 1, metric = "chebyshev", x_bits = 16,
  act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.exponents(#ml_program.extern : tensor<3xi8>) : tensor<3xi8>
ml_program.global private @x.codebook(#ml_program.extern : tensor<3x1x16x2xi16>) : tensor<3x1x16x2xi16>
ml_program.global private @q.codes(#ml_program.extern : tensor<3x1x20xi8>) : tensor<3x1x20xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<3x1x1x16x2xi8>) : tensor<3x1x1x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<3x2xi8>) : tensor<3x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
func.func @q(%x: tensor<?x6xi16, #x>) -> tensor<?x20xi32, #y> {
  // expected-error@+1 {{'lut.linear' op expected decomposed linears, got lut.linear; run lut-decompose first}}
  %y = "lut.linear"(%x) {scheme = @vq, weights = @q, shift = 20, codebook = @x.codebook} : (tensor<?x6xi16, #x>) -> tensor<?x20xi32, #y>
  return %y : tensor<?x20xi32, #y>
}

// -----

func.func @f(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@+1 {{'arith.addf' op expected functions of lut ops only, got another dialect's; extract the linears first}}
  %y = arith.addf %x, %x : tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

#x = #lut.fixed<16, @x.exponents>
#y = #lut.fixed<24, -9>
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 1024, R = 1, S = 1, metric = "chebyshev", x_bits = 16,
  act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.exponents(#ml_program.extern : tensor<3xi8>) : tensor<3xi8>
ml_program.global private @x.codebook(#ml_program.extern : tensor<3x1x16x2xi16>) : tensor<3x1x16x2xi16>
ml_program.global private @q.codes(#ml_program.extern : tensor<3x1x20xi8>) : tensor<3x1x20xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<3x1x1x16x2xi8>) : tensor<3x1x1x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<3x2xi8>) : tensor<3x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
func.func @q(%x: tensor<?x6xi16, #x>, %p: tensor<?x20xi32>) -> tensor<?x20xi32, #y> {
  %i = "lut.centroid_search"(%x) {scheme = @vq, codebook = @x.codebook} : (tensor<?x6xi16, #x>) -> tensor<?x3x1xi8>
  %r = "lut.built_row"(%i) {scheme = @vq, codebook = @x.codebook, weights = @q} : (tensor<?x3x1xi8>) -> tensor<?x3x1x1x16xi32>
  %t = "lut.table_lookup"(%r) {scheme = @vq, weights = @q} : (tensor<?x3x1x1x16xi32>) -> tensor<?x3x20xi32>
  // expected-error@+1 {{'lut.prefix_sum' op expected a sum that starts at zero, got a partial sum; run lut-decompose on whole linears}}
  %s = "lut.prefix_sum"(%t, %p) : (tensor<?x3x20xi32>, tensor<?x20xi32>) -> tensor<?x20xi32>
  %y = "lut.requantize"(%s) {weights = @q, shift = 20} : (tensor<?x20xi32>) -> tensor<?x20xi32, #y>
  return %y : tensor<?x20xi32, #y>
}

// -----

#x = #lut.fixed<16, @x.exponents>
#y = #lut.fixed<24, -9>
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 1024, R = 1, S = 1, metric = "chebyshev", x_bits = 16,
  act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.exponents(#ml_program.extern : tensor<3xi8>) : tensor<3xi8>
ml_program.global private @x.codebook(#ml_program.extern : tensor<3x1x16x2xi16>) : tensor<3x1x16x2xi16>
ml_program.global private @q.codes(#ml_program.extern : tensor<3x1x20xi8>) : tensor<3x1x20xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<3x1x1x16x2xi8>) : tensor<3x1x1x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<3x2xi8>) : tensor<3x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
func.func @q(%s: tensor<?x20xi32>) -> tensor<?x20xi32, #y> {
  // expected-error@+1 {{'lut.requantize' op expected its operand to come from lut.prefix_sum, got a block argument; run lut-decompose on whole linears}}
  %y = "lut.requantize"(%s) {weights = @q, shift = 20} : (tensor<?x20xi32>) -> tensor<?x20xi32, #y>
  return %y : tensor<?x20xi32, #y>
}

// -----

#x = #lut.fixed<16, @x.exponents>
#y = #lut.fixed<24, -9>
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 1024, R = 1, S = 1, metric = "chebyshev", x_bits = 16,
  act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.exponents(#ml_program.extern : tensor<3xi8>) : tensor<3xi8>
ml_program.global private @x.codebook(#ml_program.extern : tensor<3x1x16x2xi16>) : tensor<3x1x16x2xi16>
ml_program.global private @q.codes(#ml_program.extern : tensor<3x1x20xi8>) : tensor<3x1x20xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<3x1x1x16x2xi8>) : tensor<3x1x1x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<3x2xi8>) : tensor<3x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
func.func @q(%t: tensor<?x3x20xi32>) -> tensor<?x20xi32, #y> {
  // expected-error@+1 {{'lut.prefix_sum' op expected its operand to come from lut.table_lookup, got a block argument}}
  %s = "lut.prefix_sum"(%t) : (tensor<?x3x20xi32>) -> tensor<?x20xi32>
  %y = "lut.requantize"(%s) {weights = @q, shift = 20} : (tensor<?x20xi32>) -> tensor<?x20xi32, #y>
  return %y : tensor<?x20xi32, #y>
}

// -----

#x = #lut.fixed<16, @x.exponents>
#y = #lut.fixed<24, -9>
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 1024, R = 1, S = 1, metric = "chebyshev", x_bits = 16,
  act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.exponents(#ml_program.extern : tensor<3xi8>) : tensor<3xi8>
ml_program.global private @x.codebook(#ml_program.extern : tensor<3x1x16x2xi16>) : tensor<3x1x16x2xi16>
ml_program.global private @q.codes(#ml_program.extern : tensor<3x1x20xi8>) : tensor<3x1x20xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<3x1x1x16x2xi8>) : tensor<3x1x1x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<3x2xi8>) : tensor<3x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
func.func @q(%r: tensor<?x3x1x1x16xi32>) -> tensor<?x20xi32, #y> {
  // expected-error@+1 {{'lut.table_lookup' op expected its operand to come from lut.stored_table or lut.built_table or lut.built_row, got a block argument}}
  %t = "lut.table_lookup"(%r) {scheme = @vq, weights = @q} : (tensor<?x3x1x1x16xi32>) -> tensor<?x3x20xi32>
  %s = "lut.prefix_sum"(%t) : (tensor<?x3x20xi32>) -> tensor<?x20xi32>
  %y = "lut.requantize"(%s) {weights = @q, shift = 20} : (tensor<?x20xi32>) -> tensor<?x20xi32, #y>
  return %y : tensor<?x20xi32, #y>
}

// -----

#x = #lut.fixed<16, @x.exponents>
#y = #lut.fixed<24, -9>
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 1024, R = 1, S = 1, metric = "chebyshev", x_bits = 16,
  act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.exponents(#ml_program.extern : tensor<3xi8>) : tensor<3xi8>
ml_program.global private @x.codebook(#ml_program.extern : tensor<3x1x16x2xi16>) : tensor<3x1x16x2xi16>
ml_program.global private @q.codes(#ml_program.extern : tensor<3x1x20xi8>) : tensor<3x1x20xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<3x1x1x16x2xi8>) : tensor<3x1x1x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<3x2xi8>) : tensor<3x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
func.func @q(%i: tensor<?x3x1xi8>) -> tensor<?x20xi32, #y> {
  // expected-error@+1 {{'lut.built_row' op expected its operand to come from lut.centroid_search, got a block argument}}
  %r = "lut.built_row"(%i) {scheme = @vq, codebook = @x.codebook, weights = @q} : (tensor<?x3x1xi8>) -> tensor<?x3x1x1x16xi32>
  %t = "lut.table_lookup"(%r) {scheme = @vq, weights = @q} : (tensor<?x3x1x1x16xi32>) -> tensor<?x3x20xi32>
  %s = "lut.prefix_sum"(%t) : (tensor<?x3x20xi32>) -> tensor<?x20xi32>
  %y = "lut.requantize"(%s) {weights = @q, shift = 20} : (tensor<?x20xi32>) -> tensor<?x20xi32, #y>
  return %y : tensor<?x20xi32, #y>
}

// -----

#x = #lut.fixed<16, @x.exponents>
#y = #lut.fixed<24, -9>
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 1024, R = 1, S = 1, metric = "chebyshev", x_bits = 16,
  act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.exponents(#ml_program.extern : tensor<3xi8>) : tensor<3xi8>
ml_program.global private @x.codebook(#ml_program.extern : tensor<3x1x16x2xi16>) : tensor<3x1x16x2xi16>
ml_program.global private @q.codes(#ml_program.extern : tensor<3x1x20xi8>) : tensor<3x1x20xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<3x1x1x16x2xi8>) : tensor<3x1x1x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<3x2xi8>) : tensor<3x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
func.func @q(%x: tensor<?x6xi16, #x>) -> tensor<?x20xi32, #y> {
  %i = "lut.centroid_search"(%x) {scheme = @vq, codebook = @x.codebook} : (tensor<?x6xi16, #x>) -> tensor<?x3x1xi8>
  %r = "lut.built_row"(%i) {scheme = @vq, codebook = @x.codebook, weights = @q} : (tensor<?x3x1xi8>) -> tensor<?x3x1x1x16xi32>
  %t = "lut.table_lookup"(%r) {scheme = @vq, weights = @q} : (tensor<?x3x1x1x16xi32>) -> tensor<?x3x20xi32>
  %s = "lut.prefix_sum"(%t) : (tensor<?x3x20xi32>) -> tensor<?x20xi32>
  %y = "lut.requantize"(%s) {weights = @q, shift = 20} : (tensor<?x20xi32>) -> tensor<?x20xi32, #y>
  return %y : tensor<?x20xi32, #y>
}

func.func @again(%x: tensor<?x6xi16, #x>) -> tensor<?x20xi32, #y> {
  %i = "lut.centroid_search"(%x) {scheme = @vq, codebook = @x.codebook} : (tensor<?x6xi16, #x>) -> tensor<?x3x1xi8>
  %r = "lut.built_row"(%i) {scheme = @vq, codebook = @x.codebook, weights = @q} : (tensor<?x3x1xi8>) -> tensor<?x3x1x1x16xi32>
  %t = "lut.table_lookup"(%r) {scheme = @vq, weights = @q} : (tensor<?x3x1x1x16xi32>) -> tensor<?x3x20xi32>
  %s = "lut.prefix_sum"(%t) : (tensor<?x3x20xi32>) -> tensor<?x20xi32>
  // expected-error@+1 {{'lut.requantize' op expected each linear once, got q again; keep one function for it}}
  %y = "lut.requantize"(%s) {weights = @q, shift = 20} : (tensor<?x20xi32>) -> tensor<?x20xi32, #y>
  return %y : tensor<?x20xi32, #y>
}

// -----

#x = #lut.fixed<16, @x.exponents>
#y = #lut.fixed<24, -9>
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 1024, R = 1, S = 1, metric = "chebyshev", x_bits = 16,
  act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.exponents(#ml_program.extern : tensor<3xi8>) : tensor<3xi8>
ml_program.global private @x.codebook(#ml_program.extern : tensor<3x1x16x2xi16>) : tensor<3x1x16x2xi16>
ml_program.global private @q.codes(#ml_program.extern : tensor<3x1x20xi8>) : tensor<3x1x20xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<3x1x1x16x2xi8>) : tensor<3x1x1x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<3x2xi8>) : tensor<3x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @k.multiplier(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @k.bias(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
func.func @q(%x: tensor<?x6xi16, #x>) -> tensor<?x20xi32, #y> {
  %i = "lut.centroid_search"(%x) {scheme = @vq, codebook = @x.codebook} : (tensor<?x6xi16, #x>) -> tensor<?x3x1xi8>
  %r = "lut.built_row"(%i) {scheme = @vq, codebook = @x.codebook, weights = @q} : (tensor<?x3x1xi8>) -> tensor<?x3x1x1x16xi32>
  %t = "lut.table_lookup"(%r) {scheme = @vq, weights = @q} : (tensor<?x3x1x1x16xi32>) -> tensor<?x3x20xi32>
  %s = "lut.prefix_sum"(%t) : (tensor<?x3x20xi32>) -> tensor<?x20xi32>
  // expected-error@+1 {{'lut.requantize' op expected the weights of its lookup, @q, got @k; use one for both}}
  %y = "lut.requantize"(%s) {weights = @k, shift = 20} : (tensor<?x20xi32>) -> tensor<?x20xi32, #y>
  return %y : tensor<?x20xi32, #y>
}
