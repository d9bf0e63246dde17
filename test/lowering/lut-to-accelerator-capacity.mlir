// RUN: lutllm-opt %s --split-input-file --lut-to-accelerator="target=tiny tokens=4" --verify-diagnostics
// What does not fit an engine or its memory, and where.

// The name of one linear begins that of the other: the location is that of the linear that does not fit.
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
ml_program.global private @q.up.codes(#ml_program.extern : tensor<3x1x520xi8>) : tensor<3x1x520xi8>
ml_program.global private @q.up.weight_codebook(#ml_program.extern : tensor<3x1x1x16x2xi8>) : tensor<3x1x1x16x2xi8>
ml_program.global private @q.up.shifts(#ml_program.extern : tensor<3x2xi8>) : tensor<3x2xi8>
ml_program.global private @q.up.multiplier(#ml_program.extern : tensor<520xi32>) : tensor<520xi32>
ml_program.global private @q.up.bias(#ml_program.extern : tensor<520xi32>) : tensor<520xi32>
func.func @q(%x: tensor<?x6xi16, #x>) -> tensor<?x20xi32, #y> {
  %i = "lut.centroid_search"(%x) {scheme = @vq, codebook = @x.codebook} : (tensor<?x6xi16, #x>) -> tensor<?x3x1xi8>
  %r = "lut.built_row"(%i) {scheme = @vq, codebook = @x.codebook, weights = @q} : (tensor<?x3x1xi8>) -> tensor<?x3x1x1x16xi32>
  %t = "lut.table_lookup"(%r) {scheme = @vq, weights = @q} : (tensor<?x3x1x1x16xi32>) -> tensor<?x3x20xi32>
  %s = "lut.prefix_sum"(%t) : (tensor<?x3x20xi32>) -> tensor<?x20xi32>
  %y = "lut.requantize"(%s) {weights = @q, shift = 20} : (tensor<?x20xi32>) -> tensor<?x20xi32, #y>
  return %y : tensor<?x20xi32, #y>
}

func.func @"q.up"(%x: tensor<?x6xi16, #x>) -> tensor<?x520xi32, #y> {
  %i = "lut.centroid_search"(%x) {scheme = @vq, codebook = @x.codebook} : (tensor<?x6xi16, #x>) -> tensor<?x3x1xi8>
  %r = "lut.built_row"(%i) {scheme = @vq, codebook = @x.codebook, weights = @q.up} : (tensor<?x3x1xi8>) -> tensor<?x3x1x1x16xi32>
  %t = "lut.table_lookup"(%r) {scheme = @vq, weights = @q.up} : (tensor<?x3x1x1x16xi32>) -> tensor<?x3x520xi32>
  %s = "lut.prefix_sum"(%t) : (tensor<?x3x520xi32>) -> tensor<?x520xi32>
  // expected-error@+1 {{'lut.requantize' op cannot be scheduled: q.up: expected an accumulator of at least 65 words for one block of 1024 outputs, got 64; use smaller blocks or a larger accumulator}}
  %y = "lut.requantize"(%s) {weights = @q.up, shift = 20} : (tensor<?x520xi32>) -> tensor<?x520xi32, #y>
  return %y : tensor<?x520xi32, #y>
}

// -----

// An engine in the module is used as it is.
#x = #lut.fixed<16, @x.exponents>
#y = #lut.fixed<24, -9>
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 1024, R = 1, S = 2, metric = "chebyshev", x_bits = 16,
  act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.exponents(#ml_program.extern : tensor<3xi8>) : tensor<3xi8>
ml_program.global private @x.codebook(#ml_program.extern : tensor<3x2x16x2xi16>) : tensor<3x2x16x2xi16>
ml_program.global private @q.codes(#ml_program.extern : tensor<3x1x20xi8>) : tensor<3x1x20xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<3x1x1x16x2xi8>) : tensor<3x1x1x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<3x2xi8>) : tensor<3x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 8, centroids = 16, chains = 2, act_stages = 1, metric = "chebyshev",
    row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 4, row_sources = ["built_row"], weight_ports = 1,
    port_bits = {w = 64, x = 64, c = 128, q = 64, y = 64}, burst_beats = 16, outstanding = 4} : () -> ()
func.func @q(%x: tensor<?x6xi16, #x>) -> tensor<?x20xi32, #y> {
  %i = "lut.centroid_search"(%x) {scheme = @vq, codebook = @x.codebook} : (tensor<?x6xi16, #x>) -> tensor<?x3x2xi8>
  %r = "lut.built_row"(%i) {scheme = @vq, codebook = @x.codebook, weights = @q} : (tensor<?x3x2xi8>) -> tensor<?x3x1x1x16xi32>
  %t = "lut.table_lookup"(%r) {scheme = @vq, weights = @q} : (tensor<?x3x1x1x16xi32>) -> tensor<?x3x20xi32>
  %s = "lut.prefix_sum"(%t) : (tensor<?x3x20xi32>) -> tensor<?x20xi32>
  // expected-error@+1 {{'lut.requantize' op cannot be scheduled: q: expected at most 1 activation stages on this engine, got 2; use a larger engine}}
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
"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 8, centroids = 16, chains = 2, act_stages = 1, metric = "chebyshev",
    row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 4, row_sources = ["built_row"], weight_ports = 1,
    port_bits = {w = 64, x = 64, c = 128, q = 64, y = 64}, burst_beats = 16, outstanding = 4} : () -> ()
// expected-error@+1 {{'lut.engine' op expected one lut.engine in the module, got another; remove one}}
"lut.engine"() {sym_name = "other", pairs = 2, lanes = 8, centroids = 16, chains = 2, act_stages = 1, metric = "chebyshev",
    row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, acc_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 4, row_sources = ["built_row"], weight_ports = 1,
    port_bits = {w = 64, x = 64, c = 128, q = 64, y = 64}, burst_beats = 16, outstanding = 4} : () -> ()
func.func @q(%x: tensor<?x6xi16, #x>) -> tensor<?x20xi32, #y> {
  %i = "lut.centroid_search"(%x) {scheme = @vq, codebook = @x.codebook} : (tensor<?x6xi16, #x>) -> tensor<?x3x1xi8>
  %r = "lut.built_row"(%i) {scheme = @vq, codebook = @x.codebook, weights = @q} : (tensor<?x3x1xi8>) -> tensor<?x3x1x1x16xi32>
  %t = "lut.table_lookup"(%r) {scheme = @vq, weights = @q} : (tensor<?x3x1x1x16xi32>) -> tensor<?x3x20xi32>
  %s = "lut.prefix_sum"(%t) : (tensor<?x3x20xi32>) -> tensor<?x20xi32>
  %y = "lut.requantize"(%s) {weights = @q, shift = 20} : (tensor<?x20xi32>) -> tensor<?x20xi32, #y>
  return %y : tensor<?x20xi32, #y>
}

// -----

// expected-error@+1 {{'builtin.module' op cannot be scheduled: expected at least one linear to schedule, got none; run torch-to-lut and lut-decompose first}}
module {
}

// -----

#x = #lut.fixed<16, @x.exponents>
#y = #lut.fixed<24, -9>
// expected-error@+1 {{'builtin.module' op cannot be scheduled: expected one metric for an engine, got chebyshev, l2}}
module {
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 1024, R = 1, S = 1, metric = "chebyshev", x_bits = 16,
  act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
"lut.scheme"() {sym_name = "l2", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 1024, R = 1, S = 1, metric = "l2", x_bits = 16,
  act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.exponents(#ml_program.extern : tensor<3xi8>) : tensor<3xi8>
ml_program.global private @x.codebook(#ml_program.extern : tensor<3x1x16x2xi16>) : tensor<3x1x16x2xi16>
ml_program.global private @q.codes(#ml_program.extern : tensor<3x1x20xi8>) : tensor<3x1x20xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<3x1x1x16x2xi8>) : tensor<3x1x1x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<3x2xi8>) : tensor<3x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @k.codes(#ml_program.extern : tensor<3x1x20xi8>) : tensor<3x1x20xi8>
ml_program.global private @k.weight_codebook(#ml_program.extern : tensor<3x1x1x16x2xi8>) : tensor<3x1x1x16x2xi8>
ml_program.global private @k.shifts(#ml_program.extern : tensor<3x2xi8>) : tensor<3x2xi8>
ml_program.global private @k.multiplier(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @k.bias(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
func.func @q(%x: tensor<?x6xi16, #x>) -> tensor<?x20xi32, #y> {
  %i = "lut.centroid_search"(%x) {scheme = @vq, codebook = @x.codebook} : (tensor<?x6xi16, #x>) -> tensor<?x3x1xi8>
  %r = "lut.built_row"(%i) {scheme = @vq, codebook = @x.codebook, weights = @q} : (tensor<?x3x1xi8>) -> tensor<?x3x1x1x16xi32>
  %t = "lut.table_lookup"(%r) {scheme = @vq, weights = @q} : (tensor<?x3x1x1x16xi32>) -> tensor<?x3x20xi32>
  %s = "lut.prefix_sum"(%t) : (tensor<?x3x20xi32>) -> tensor<?x20xi32>
  %y = "lut.requantize"(%s) {weights = @q, shift = 20} : (tensor<?x20xi32>) -> tensor<?x20xi32, #y>
  return %y : tensor<?x20xi32, #y>
}
func.func @k(%x: tensor<?x6xi16, #x>) -> tensor<?x20xi32, #y> {
  %i = "lut.centroid_search"(%x) {scheme = @l2, codebook = @x.codebook} : (tensor<?x6xi16, #x>) -> tensor<?x3x1xi8>
  %r = "lut.built_row"(%i) {scheme = @l2, codebook = @x.codebook, weights = @k} : (tensor<?x3x1xi8>) -> tensor<?x3x1x1x16xi32>
  %t = "lut.table_lookup"(%r) {scheme = @l2, weights = @k} : (tensor<?x3x1x1x16xi32>) -> tensor<?x3x20xi32>
  %s = "lut.prefix_sum"(%t) : (tensor<?x3x20xi32>) -> tensor<?x20xi32>
  %y = "lut.requantize"(%s) {weights = @k, shift = 20} : (tensor<?x20xi32>) -> tensor<?x20xi32, #y>
  return %y : tensor<?x20xi32, #y>
}
}

// -----

#x = #lut.fixed<16, @x.exponents>
#y = #lut.fixed<24, -9>
// expected-error@+1 {{'builtin.module' op cannot be scheduled: memory map: expected at most 16777216 bytes, got }}
module {
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 64, R = 1, S = 1, metric = "chebyshev", x_bits = 16,
  act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.exponents(#ml_program.extern : tensor<8192xi8>) : tensor<8192xi8>
ml_program.global private @x.codebook(#ml_program.extern : tensor<8192x1x16x2xi16>) : tensor<8192x1x16x2xi16>
ml_program.global private @q.codes(#ml_program.extern : tensor<8192x1x4096xi8>) : tensor<8192x1x4096xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<8192x64x1x16x2xi8>) : tensor<8192x64x1x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<8192x2xi8>) : tensor<8192x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<4096xi32>) : tensor<4096xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<4096xi32>) : tensor<4096xi32>
func.func @q(%x: tensor<?x16384xi16, #x>) -> tensor<?x4096xi32, #y> {
  %i = "lut.centroid_search"(%x) {scheme = @vq, codebook = @x.codebook} : (tensor<?x16384xi16, #x>) -> tensor<?x8192x1xi8>
  %r = "lut.built_row"(%i) {scheme = @vq, codebook = @x.codebook, weights = @q} : (tensor<?x8192x1xi8>) -> tensor<?x8192x64x1x16xi32>
  %t = "lut.table_lookup"(%r) {scheme = @vq, weights = @q} : (tensor<?x8192x64x1x16xi32>) -> tensor<?x8192x4096xi32>
  %s = "lut.prefix_sum"(%t) : (tensor<?x8192x4096xi32>) -> tensor<?x4096xi32>
  %y = "lut.requantize"(%s) {weights = @q, shift = 20} : (tensor<?x4096xi32>) -> tensor<?x4096xi32, #y>
  return %y : tensor<?x4096xi32, #y>
}
}
