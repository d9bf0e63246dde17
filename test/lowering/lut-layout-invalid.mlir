// RUN: lutllm-opt %s --lut-decompose --lut-place=target=tiny --lut-layout --split-input-file --verify-diagnostics
// Blocks of codebooks that no layout can serve are named at the linear.

#x = #lut.fixed<16, @gate.input.exponents>
#m = #lut.fixed<16, @down.input.exponents>
#y = #lut.fixed<24, -20>
"lut.scheme"() {sym_name = "s12", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 12, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @gate.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @gate.codes(#ml_program.extern : tensor<4x1x20xi8>) : tensor<4x1x20xi8>
ml_program.global private @gate.weight_codebook(#ml_program.extern : tensor<4x2x1x16x2xi8>) : tensor<4x2x1x16x2xi8>
ml_program.global private @gate.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @gate.multiplier(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @gate.bias(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @up.codes(#ml_program.extern : tensor<4x1x20xi8>) : tensor<4x1x20xi8>
ml_program.global private @up.weight_codebook(#ml_program.extern : tensor<4x3x1x16x2xi8>) : tensor<4x3x1x16x2xi8>
ml_program.global private @up.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @up.multiplier(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @up.bias(#ml_program.extern : tensor<20xi32>) : tensor<20xi32>
ml_program.global private @down.input.exponents(#ml_program.extern : tensor<10xi8>) : tensor<10xi8>
ml_program.global private @down.codes(#ml_program.extern : tensor<10x1x8xi8>) : tensor<10x1x8xi8>
ml_program.global private @down.weight_codebook(#ml_program.extern : tensor<10x1x1x16x2xi8>) : tensor<10x1x1x16x2xi8>
ml_program.global private @down.shifts(#ml_program.extern : tensor<10x2xi8>) : tensor<10x2xi8>
ml_program.global private @down.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @down.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y> {
  // expected-error@+1 {{'lut.cluster' op expected outputs laid out like those of up, got blocks of 12 and 8 channels, padded to 24 and 24; quantize both with blocks of a multiple of 8 outputs, or of one size}}
  %0 = "lut.linear"(%x) {scheme = @s12, weights = @gate, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x20xi32, #y>
  %1 = "lut.linear"(%x) {scheme = @exact, weights = @up, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x20xi32, #y>
  %2 = "lut.swiglu"(%0, %1) : (tensor<?x20xi32, #y>, tensor<?x20xi32, #y>) -> tensor<?x20xi16, #m>
  %3 = "lut.linear"(%2) {scheme = @exact, weights = @down, shift = 20} : (tensor<?x20xi16, #m>) -> tensor<?x8xi32, #y>
  return %3 : tensor<?x8xi32, #y>
}

// -----

#x = #lut.fixed<16, @gate.input.exponents>
#m = #lut.fixed<16, @down.input.exponents>
#y = #lut.fixed<24, -20>
"lut.scheme"() {sym_name = "s12", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 7, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @gate.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @gate.codes(#ml_program.extern : tensor<4x1x14xi8>) : tensor<4x1x14xi8>
ml_program.global private @gate.weight_codebook(#ml_program.extern : tensor<4x2x1x16x2xi8>) : tensor<4x2x1x16x2xi8>
ml_program.global private @gate.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @gate.multiplier(#ml_program.extern : tensor<14xi32>) : tensor<14xi32>
ml_program.global private @gate.bias(#ml_program.extern : tensor<14xi32>) : tensor<14xi32>
ml_program.global private @up.codes(#ml_program.extern : tensor<4x1x14xi8>) : tensor<4x1x14xi8>
ml_program.global private @up.weight_codebook(#ml_program.extern : tensor<4x2x1x16x2xi8>) : tensor<4x2x1x16x2xi8>
ml_program.global private @up.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @up.multiplier(#ml_program.extern : tensor<14xi32>) : tensor<14xi32>
ml_program.global private @up.bias(#ml_program.extern : tensor<14xi32>) : tensor<14xi32>
ml_program.global private @down.input.exponents(#ml_program.extern : tensor<7xi8>) : tensor<7xi8>
ml_program.global private @down.codes(#ml_program.extern : tensor<7x1x8xi8>) : tensor<7x1x8xi8>
ml_program.global private @down.weight_codebook(#ml_program.extern : tensor<7x1x1x16x2xi8>) : tensor<7x1x1x16x2xi8>
ml_program.global private @down.shifts(#ml_program.extern : tensor<7x2xi8>) : tensor<7x2xi8>
ml_program.global private @down.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @down.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y> {
  %0 = "lut.linear"(%x) {scheme = @s12, weights = @gate, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x14xi32, #y>
  %1 = "lut.linear"(%x) {scheme = @s12, weights = @up, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x14xi32, #y>
  %2 = "lut.swiglu"(%0, %1) : (tensor<?x14xi32, #y>, tensor<?x14xi32, #y>) -> tensor<?x14xi16, #m>
  // expected-error@+1 {{'lut.cluster' op expected input channels in pairs, got 6 without 7; quantize the linear before it with blocks of an even number of outputs, or change the layout of what it reads}}
  %3 = "lut.linear"(%2) {scheme = @exact, weights = @down, shift = 20} : (tensor<?x14xi16, #m>) -> tensor<?x8xi32, #y>
  return %3 : tensor<?x8xi32, #y>
}

// -----

#x = #lut.fixed<16, @lm.input.exponents>
#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>
#y = #lut.fixed<24, -20>
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 12, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @norm.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @lm.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @lm.codes(#ml_program.extern : tensor<4x1x30xi8>) : tensor<4x1x30xi8>
ml_program.global private @lm.weight_codebook(#ml_program.extern : tensor<4x3x1x16x2xi8>) : tensor<4x3x1x16x2xi8>
ml_program.global private @lm.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @lm.multiplier(#ml_program.extern : tensor<30xi32>) : tensor<30xi32>
ml_program.global private @lm.bias(#ml_program.extern : tensor<30xi32>) : tensor<30xi32>
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 4, row_sources = ["exact_row"],
    weight_ports = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "norm", "residual", "store", "swiglu", "heads", "attention", "embed", "pick"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()
func.func @prefill() {
  return
}
func.func @head(%r: tensor<?x8xi32, #r>) -> tensor<1xi32> {
  %0 = "lut.last_token"(%r) : (tensor<?x8xi32, #r>) -> tensor<1x8xi32, #r>
  %1 = "lut.rms_norm"(%0) {gain = @norm.gain, groups = 1, epsilon = 40, shift = 12} : (tensor<1x8xi32, #r>) -> tensor<1x8xi32, #n>
  %2 = "lut.rescale"(%1) : (tensor<1x8xi32, #n>) -> tensor<1x8xi16, #x>
  %3 = "lut.linear"(%2) {scheme = @exact, weights = @lm, shift = 20} : (tensor<1x8xi16, #x>) -> tensor<1x30xi32, #y>
  // expected-error@+1 {{'lut.cluster' op expected codebook blocks of whole chunks of 8 outputs, got blocks of 12; quantize the LM head with blocks of a multiple of 8, or of at least 30}}
  %4 = "lut.argmax"(%3) : (tensor<1x30xi32, #y>) -> tensor<1xi32>
  return %4 : tensor<1xi32>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
#y = #lut.fixed<24, -20>
#k = #lut.fixed<8, @k.exponents>
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 9, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @a.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.codes(#ml_program.extern : tensor<4x1x18xi8>) : tensor<4x1x18xi8>
ml_program.global private @a.weight_codebook(#ml_program.extern : tensor<4x2x1x16x2xi8>) : tensor<4x2x1x16x2xi8>
ml_program.global private @a.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<18xi32>) : tensor<18xi32>
ml_program.global private @a.bias(#ml_program.extern : tensor<18xi32>) : tensor<18xi32>
ml_program.global private @k.exponents(#ml_program.extern : tensor<9xi8>) : tensor<9xi8>
ml_program.global private @v.exponents(#ml_program.extern : tensor<9xi8>) : tensor<9xi8>
ml_program.global private @q.exponents(#ml_program.extern : tensor<9xi8>) : tensor<9xi8>
ml_program.global private @o.exponents(#ml_program.extern : tensor<9xi8>) : tensor<9xi8>
ml_program.global private @s.multiplier(#ml_program.extern : tensor<3xi32>) : tensor<3xi32>
ml_program.global private @cos(#ml_program.extern : tensor<16x3xi16>) : tensor<16x3xi16>
ml_program.global private @sin(#ml_program.extern : tensor<16x3xi16>) : tensor<16x3xi16>
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 4, row_sources = ["exact_row"],
    weight_ports = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "norm", "residual", "store", "swiglu", "heads", "attention", "embed", "pick", "load"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()
func.func @prefill(%x: tensor<?x8xi16, #x>, %p: tensor<1xi32>, %c: tensor<16x18xi8, #k>) -> tensor<16x18xi8, #k> {
  // expected-error@+1 {{'lut.cluster' op expected codebook blocks of whole heads of 6 outputs, got blocks of 9; quantize with blocks of a multiple of 6, or of at least 18}}
  %0 = "lut.linear"(%x) {scheme = @exact, weights = @a, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x18xi32, #y>
  %1 = "lut.rope"(%0, %p) {heads = 3, positions = 16, cosines = @cos, sines = @sin} : (tensor<?x18xi32, #y>, tensor<1xi32>) -> tensor<?x18xi32, #y>
  %2 = "lut.rescale"(%1) : (tensor<?x18xi32, #y>) -> tensor<?x18xi8, #k>
  %3 = "lut.append"(%c, %2, %p) : (tensor<16x18xi8, #k>, tensor<?x18xi8, #k>, tensor<1xi32>) -> tensor<16x18xi8, #k>
  return %3 : tensor<16x18xi8, #k>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
#y = #lut.fixed<24, -20>
#k = #lut.fixed<8, @k.exponents>
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 6, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @a.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.codes(#ml_program.extern : tensor<4x1x18xi8>) : tensor<4x1x18xi8>
ml_program.global private @a.weight_codebook(#ml_program.extern : tensor<4x3x1x16x2xi8>) : tensor<4x3x1x16x2xi8>
ml_program.global private @a.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<18xi32>) : tensor<18xi32>
ml_program.global private @a.bias(#ml_program.extern : tensor<18xi32>) : tensor<18xi32>
ml_program.global private @k.exponents(#ml_program.extern : tensor<9xi8>) : tensor<9xi8>
ml_program.global private @v.exponents(#ml_program.extern : tensor<9xi8>) : tensor<9xi8>
ml_program.global private @q.exponents(#ml_program.extern : tensor<9xi8>) : tensor<9xi8>
ml_program.global private @o.exponents(#ml_program.extern : tensor<9xi8>) : tensor<9xi8>
ml_program.global private @s.multiplier(#ml_program.extern : tensor<3xi32>) : tensor<3xi32>
ml_program.global private @cos(#ml_program.extern : tensor<16x3xi16>) : tensor<16x3xi16>
ml_program.global private @sin(#ml_program.extern : tensor<16x3xi16>) : tensor<16x3xi16>
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 16, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 4, row_sources = ["exact_row"],
    weight_ports = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "norm", "residual", "store", "swiglu", "heads", "attention", "embed", "pick", "load"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()
func.func @prefill(%x: tensor<?x8xi16, #x>, %p: tensor<1xi32>, %c: tensor<16x18xi8, #k>) -> tensor<16x18xi8, #k> {
  // expected-error@+1 {{'lut.cluster' op expected codebook blocks of whole chunks of 16 channels, got 8 for 1 heads; quantize with other blocks, or of at least 18}}
  %0 = "lut.linear"(%x) {scheme = @exact, weights = @a, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x18xi32, #y>
  %1 = "lut.rope"(%0, %p) {heads = 3, positions = 16, cosines = @cos, sines = @sin} : (tensor<?x18xi32, #y>, tensor<1xi32>) -> tensor<?x18xi32, #y>
  %2 = "lut.rescale"(%1) : (tensor<?x18xi32, #y>) -> tensor<?x18xi8, #k>
  %3 = "lut.append"(%c, %2, %p) : (tensor<16x18xi8, #k>, tensor<?x18xi8, #k>, tensor<1xi32>) -> tensor<16x18xi8, #k>
  return %3 : tensor<16x18xi8, #k>
}
