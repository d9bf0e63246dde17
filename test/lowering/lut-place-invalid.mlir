// RUN: lutllm-opt %s --lut-place=target=tiny --split-input-file --verify-diagnostics
// RUN: not lutllm-opt %s --lut-place=target=huge 2>&1 | FileCheck %s
// What no engine computes where it stands is an error at the op.
// CHECK: expected a target among small, tiny, u280, v80, or a .toml file, got 'huge'

// expected-error@+1 {{'builtin.module' op expected functions to place, got none; extract linears, or convert a model}}
module {}

// -----

#x = #lut.fixed<16, @a.input.exponents>
#y = #lut.fixed<24, -20>
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @a.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.codes(#ml_program.extern : tensor<4x1x8xi8>) : tensor<4x1x8xi8>
ml_program.global private @a.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @a.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @a.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y> {
  // expected-error@+1 {{'lut.linear' op expected decomposed linears, got lut.linear; run lut-decompose first}}
  %0 = "lut.linear"(%x) {scheme = @exact, weights = @a, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y>
  return %0 : tensor<?x8xi32, #y>
}

// -----

#r = #lut.fixed<26, -16>
func.func @prefill(%x: tensor<?x8xi32, #r>) -> tensor<?x8xi32, #r> {
  // expected-error@+1 {{'lut.add' op expected an op that an engine computes where it stands, got none that does; docs/accelerator.md lists what each engine can do}}
  %0 = "lut.add"(%x, %x) : (tensor<?x8xi32, #r>, tensor<?x8xi32, #r>) -> tensor<?x8xi32, #r>
  return %0 : tensor<?x8xi32, #r>
}

// -----

#r = #lut.fixed<26, -16>
#x = #lut.fixed<16, @a.input.exponents>
#y = #lut.fixed<24, -20>
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @a.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.codes(#ml_program.extern : tensor<4x1x8xi8>) : tensor<4x1x8xi8>
ml_program.global private @a.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @a.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @a.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>, %s: tensor<?x8xi32, #r>) -> tensor<?x8xi32, #r> {
  %0 = "lut.exact_row"(%x) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x1x1x16xi32>
  %1 = "lut.table_lookup"(%0) {scheme = @exact, weights = @a} : (tensor<?x4x1x1x16xi32>) -> tensor<?x4x8xi32>
  %2 = "lut.prefix_sum"(%1) : (tensor<?x4x8xi32>) -> tensor<?x8xi32>
  %3 = "lut.requantize"(%2) {weights = @a, shift = 20} : (tensor<?x8xi32>) -> tensor<?x8xi32, #y>
  // expected-error@+1 {{'lut.add' op expected operand 0 in memory r, which its engine reads, got it among the arguments; no engine moves it there}}
  %4 = "lut.add"(%s, %3) : (tensor<?x8xi32, #r>, tensor<?x8xi32, #y>) -> tensor<?x8xi32, #r>
  return %4 : tensor<?x8xi32, #r>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
#y = #lut.fixed<24, -20>
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @a.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.codes(#ml_program.extern : tensor<4x1x8xi8>) : tensor<4x1x8xi8>
ml_program.global private @a.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @a.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @a.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 64, codes_depth = 4, row_sources = ["exact_row"],
    weight_ports = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "store", "swiglu", "load"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y> {
  // expected-error@+4 {{'lut.cluster' op expected a machine with engine 'save', got linear, feed, store, swiglu, load; add it to the lut.machine}}
  %0 = "lut.exact_row"(%x) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x1x1x16xi32>
  %1 = "lut.table_lookup"(%0) {scheme = @exact, weights = @a} : (tensor<?x4x1x1x16xi32>) -> tensor<?x4x8xi32>
  %2 = "lut.prefix_sum"(%1) : (tensor<?x4x8xi32>) -> tensor<?x8xi32>
  %3 = "lut.requantize"(%2) {weights = @a, shift = 20} : (tensor<?x8xi32>) -> tensor<?x8xi32, #y>
  return %3 : tensor<?x8xi32, #y>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
#y = #lut.fixed<24, -20>
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @a.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.codes(#ml_program.extern : tensor<4x1x8xi8>) : tensor<4x1x8xi8>
ml_program.global private @a.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @a.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @a.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
// expected-error@+1 {{'func.func' op expected a function of one block named @prefill, @decode, @head, which hardware runs, got @forward; rename or remove it}}
func.func @forward(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi16, #x> {

  return %x : tensor<?x8xi16, #x>
}
