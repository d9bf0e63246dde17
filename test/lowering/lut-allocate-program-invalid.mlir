// RUN: lutllm-opt %s --lut-decompose --lut-place=target=tiny --lut-layout --lut-allocate --split-input-file --verify-diagnostics
// Attention needs room for its scores and sums; there is one residual stream.

#x = #lut.fixed<16, @x.input.exponents>
#y = #lut.fixed<24, -20>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>
#s = #lut.fixed<16, @o.input.exponents>
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 4, row_sources = ["exact_row"],
    weight_ports = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "store", "heads", "attention", "load", "save"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 16, score_words = 63, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 64, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @q.codes(#ml_program.extern : tensor<4x1x16xi8>) : tensor<4x1x16xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
ml_program.global private @k.codes(#ml_program.extern : tensor<4x1x8xi8>) : tensor<4x1x8xi8>
ml_program.global private @k.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @k.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @k.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @k.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @v.codes(#ml_program.extern : tensor<4x1x8xi8>) : tensor<4x1x8xi8>
ml_program.global private @v.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @v.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @v.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @v.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @o.input.exponents(#ml_program.extern : tensor<8xi8>) : tensor<8xi8>
ml_program.global private @o.codes(#ml_program.extern : tensor<8x1x8xi8>) : tensor<8x1x8xi8>
ml_program.global private @o.weight_codebook(#ml_program.extern : tensor<8x1x1x16x2xi8>) : tensor<8x1x1x16x2xi8>
ml_program.global private @o.shifts(#ml_program.extern : tensor<8x2xi8>) : tensor<8x2xi8>
ml_program.global private @o.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @o.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @a.query.exponents(#ml_program.extern : tensor<8xi8>) : tensor<8xi8>
ml_program.global private @a.key.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.value.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<2xi32>) : tensor<2xi32>
ml_program.global private @rope.cosines(#ml_program.extern : tensor<16x4xi16>) : tensor<16x4xi16>
ml_program.global private @rope.sines(#ml_program.extern : tensor<16x4xi16>) : tensor<16x4xi16>
func.func @prefill(%x: tensor<?x8xi16, #x>, %p: tensor<1xi32>, %c: tensor<16x8xi8, #k>, %d: tensor<16x8xi8, #v>) -> (tensor<?x8xi32, #y>, tensor<16x8xi8, #k>, tensor<16x8xi8, #v>) {
  %0 = "lut.linear"(%x) {scheme = @exact, weights = @q, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x16xi32, #y>
  %1 = "lut.linear"(%x) {scheme = @exact, weights = @k, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y>
  %2 = "lut.linear"(%x) {scheme = @exact, weights = @v, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y>
  %3 = "lut.rope"(%0, %p) {heads = 2, positions = 16, cosines = @rope.cosines, sines = @rope.sines} : (tensor<?x16xi32, #y>, tensor<1xi32>) -> tensor<?x16xi32, #y>
  %4 = "lut.rope"(%1, %p) {heads = 1, positions = 16, cosines = @rope.cosines, sines = @rope.sines} : (tensor<?x8xi32, #y>, tensor<1xi32>) -> tensor<?x8xi32, #y>
  %5 = "lut.rescale"(%3) : (tensor<?x16xi32, #y>) -> tensor<?x16xi16, #q>
  %6 = "lut.rescale"(%4) : (tensor<?x8xi32, #y>) -> tensor<?x8xi8, #k>
  %7 = "lut.rescale"(%2) : (tensor<?x8xi32, #y>) -> tensor<?x8xi8, #v>
  %8 = "lut.append"(%c, %6, %p) : (tensor<16x8xi8, #k>, tensor<?x8xi8, #k>, tensor<1xi32>) -> tensor<16x8xi8, #k>
  %9 = "lut.append"(%d, %7, %p) : (tensor<16x8xi8, #v>, tensor<?x8xi8, #v>, tensor<1xi32>) -> tensor<16x8xi8, #v>
  // expected-error@+1 {{'lut.cluster' op expected room for at least 64 scores, 4 tokens of a context of 16, and 4 sums, got score_words = 63 and item_words = 4; enlarge them, or use a shorter context or fewer tokens a pass}}
  %10 = "lut.attention"(%5, %8, %9, %p) {heads = 2, kv_heads = 1, multiplier = @a.multiplier, shift = 15} : (tensor<?x16xi16, #q>, tensor<16x8xi8, #k>, tensor<16x8xi8, #v>, tensor<1xi32>) -> tensor<?x16xi16, #s>
  %11 = "lut.linear"(%10) {scheme = @exact, weights = @o, shift = 20} : (tensor<?x16xi16, #s>) -> tensor<?x8xi32, #y>
  return %11, %8, %9 : tensor<?x8xi32, #y>, tensor<16x8xi8, #k>, tensor<16x8xi8, #v>
}

// -----

#x = #lut.fixed<16, @x.input.exponents>
#y = #lut.fixed<24, -20>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>
#s = #lut.fixed<16, @o.input.exponents>
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 4, row_sources = ["exact_row"],
    weight_ports = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "store", "heads", "attention", "load", "save"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 16, score_words = 64, item_words = 3, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 64, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @q.codes(#ml_program.extern : tensor<4x1x16xi8>) : tensor<4x1x16xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
ml_program.global private @k.codes(#ml_program.extern : tensor<4x1x8xi8>) : tensor<4x1x8xi8>
ml_program.global private @k.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @k.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @k.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @k.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @v.codes(#ml_program.extern : tensor<4x1x8xi8>) : tensor<4x1x8xi8>
ml_program.global private @v.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @v.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @v.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @v.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @o.input.exponents(#ml_program.extern : tensor<8xi8>) : tensor<8xi8>
ml_program.global private @o.codes(#ml_program.extern : tensor<8x1x8xi8>) : tensor<8x1x8xi8>
ml_program.global private @o.weight_codebook(#ml_program.extern : tensor<8x1x1x16x2xi8>) : tensor<8x1x1x16x2xi8>
ml_program.global private @o.shifts(#ml_program.extern : tensor<8x2xi8>) : tensor<8x2xi8>
ml_program.global private @o.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @o.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @a.query.exponents(#ml_program.extern : tensor<8xi8>) : tensor<8xi8>
ml_program.global private @a.key.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.value.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<2xi32>) : tensor<2xi32>
ml_program.global private @rope.cosines(#ml_program.extern : tensor<16x4xi16>) : tensor<16x4xi16>
ml_program.global private @rope.sines(#ml_program.extern : tensor<16x4xi16>) : tensor<16x4xi16>
func.func @prefill(%x: tensor<?x8xi16, #x>, %p: tensor<1xi32>, %c: tensor<16x8xi8, #k>, %d: tensor<16x8xi8, #v>) -> (tensor<?x8xi32, #y>, tensor<16x8xi8, #k>, tensor<16x8xi8, #v>) {
  %0 = "lut.linear"(%x) {scheme = @exact, weights = @q, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x16xi32, #y>
  %1 = "lut.linear"(%x) {scheme = @exact, weights = @k, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y>
  %2 = "lut.linear"(%x) {scheme = @exact, weights = @v, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y>
  %3 = "lut.rope"(%0, %p) {heads = 2, positions = 16, cosines = @rope.cosines, sines = @rope.sines} : (tensor<?x16xi32, #y>, tensor<1xi32>) -> tensor<?x16xi32, #y>
  %4 = "lut.rope"(%1, %p) {heads = 1, positions = 16, cosines = @rope.cosines, sines = @rope.sines} : (tensor<?x8xi32, #y>, tensor<1xi32>) -> tensor<?x8xi32, #y>
  %5 = "lut.rescale"(%3) : (tensor<?x16xi32, #y>) -> tensor<?x16xi16, #q>
  %6 = "lut.rescale"(%4) : (tensor<?x8xi32, #y>) -> tensor<?x8xi8, #k>
  %7 = "lut.rescale"(%2) : (tensor<?x8xi32, #y>) -> tensor<?x8xi8, #v>
  %8 = "lut.append"(%c, %6, %p) : (tensor<16x8xi8, #k>, tensor<?x8xi8, #k>, tensor<1xi32>) -> tensor<16x8xi8, #k>
  %9 = "lut.append"(%d, %7, %p) : (tensor<16x8xi8, #v>, tensor<?x8xi8, #v>, tensor<1xi32>) -> tensor<16x8xi8, #v>
  // expected-error@+1 {{'lut.cluster' op expected room for at least 64 scores, 4 tokens of a context of 16, and 4 sums, got score_words = 64 and item_words = 3; enlarge them, or use a shorter context or fewer tokens a pass}}
  %10 = "lut.attention"(%5, %8, %9, %p) {heads = 2, kv_heads = 1, multiplier = @a.multiplier, shift = 15} : (tensor<?x16xi16, #q>, tensor<16x8xi8, #k>, tensor<16x8xi8, #v>, tensor<1xi32>) -> tensor<?x16xi16, #s>
  %11 = "lut.linear"(%10) {scheme = @exact, weights = @o, shift = 20} : (tensor<?x16xi16, #s>) -> tensor<?x8xi32, #y>
  return %11, %8, %9 : tensor<?x8xi32, #y>, tensor<16x8xi8, #k>, tensor<16x8xi8, #v>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
#m = #lut.fixed<16, @c.input.exponents>
#y = #lut.fixed<24, -20>
#n = #lut.fixed<28, -20>
#r = #lut.fixed<26, -16>
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @a.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.codes(#ml_program.extern : tensor<4x1x8xi8>) : tensor<4x1x8xi8>
ml_program.global private @a.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @a.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @a.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @b.codes(#ml_program.extern : tensor<4x1x8xi8>) : tensor<4x1x8xi8>
ml_program.global private @b.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @b.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @b.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @b.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @c.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @c.codes(#ml_program.extern : tensor<4x1x8xi8>) : tensor<4x1x8xi8>
ml_program.global private @c.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @c.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @c.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @c.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @d.codes(#ml_program.extern : tensor<4x1x8xi8>) : tensor<4x1x8xi8>
ml_program.global private @d.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @d.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @d.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @d.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @norm.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y> {
  %0 = "lut.linear"(%x) {scheme = @exact, weights = @a, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y>
  // expected-error@+1 {{'lut.cluster' op expected one residual stream at a time, got another while that of a is still read; an accelerator holds one}}
  %1 = "lut.linear"(%x) {scheme = @exact, weights = @b, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y>
  %2 = "lut.rms_norm"(%1) {gain = @norm.gain, groups = 1, epsilon = 40, shift = 12} : (tensor<?x8xi32, #y>) -> tensor<?x8xi32, #n>
  %3 = "lut.rescale"(%2) : (tensor<?x8xi32, #n>) -> tensor<?x8xi16, #m>
  %4 = "lut.linear"(%3) {scheme = @exact, weights = @c, shift = 20} : (tensor<?x8xi16, #m>) -> tensor<?x8xi32, #y>
  %5 = "lut.add"(%0, %4) : (tensor<?x8xi32, #y>, tensor<?x8xi32, #y>) -> tensor<?x8xi32, #r>
  %6 = "lut.rms_norm"(%5) {gain = @norm.gain, groups = 1, epsilon = 40, shift = 12} : (tensor<?x8xi32, #r>) -> tensor<?x8xi32, #n>
  %7 = "lut.rescale"(%6) : (tensor<?x8xi32, #n>) -> tensor<?x8xi16, #m>
  %8 = "lut.linear"(%7) {scheme = @exact, weights = @d, shift = 20} : (tensor<?x8xi16, #m>) -> tensor<?x8xi32, #y>
  return %8 : tensor<?x8xi32, #y>
}
