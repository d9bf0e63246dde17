// RUN: lutllm-opt %s --lut-allocate --split-input-file --verify-diagnostics
// What the machine has no room for.

#x = #lut.fixed<16, @a.input.exponents>
#y = #lut.fixed<24, -20>
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 4, codes_depth = 4, row_sources = ["exact_row"], weight_ports
    = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load", "save"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @a.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.codes(#ml_program.extern : tensor<4x1x16xi8>) : tensor<4x1x16xi8>
ml_program.global private @a.weight_codebook(#ml_program.extern : tensor<4x2x1x16x2xi8>) : tensor<4x2x1x16x2xi8>
ml_program.global private @a.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
ml_program.global private @a.bias(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
"lut.layout"() {sym_name = "c8", channels = 8, unit = 1, unit_size = 1, interleaved = 0, block = 8, pad = 4, repeat = 0} : () -> ()
"lut.layout"() {sym_name = "c16_b8", channels = 16, unit = 1, unit_size = 1, interleaved = 0, block = 8, pad = 8, repeat = 0} : () -> ()
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x16xi32, #y> {
  // expected-error@+1 {{'lut.cluster' op expected a layout of it in the module, got none; run lut-layout}}
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  %1 = "lut.cluster"() ({
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x2x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x2x1x16xi32>) -> tensor<?x4x16xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x16xi32>) -> tensor<?x16xi32>
    %l = "lut.requantize"(%k) {weights = @a, shift = 20} : (tensor<?x16xi32>) -> tensor<?x16xi32, #y>
    "lut.yield"(%l) : (tensor<?x16xi32, #y>) -> ()
  }) {label = "a", engines = ["feed", "linear", "save"], layout = @c16_b8} : () -> tensor<?x16xi32, #y>
  return %1 : tensor<?x16xi32, #y>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
#y = #lut.fixed<24, -20>
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 4, codes_depth = 4, row_sources = ["exact_row"], weight_ports
    = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load", "save"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @a.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.codes(#ml_program.extern : tensor<4x1x16xi8>) : tensor<4x1x16xi8>
ml_program.global private @a.weight_codebook(#ml_program.extern : tensor<4x2x1x16x2xi8>) : tensor<4x2x1x16x2xi8>
ml_program.global private @a.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
ml_program.global private @a.bias(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
"lut.layout"() {sym_name = "c8", channels = 8, unit = 1, unit_size = 1, interleaved = 0, block = 8, pad = 4, repeat = 0} : () -> ()
"lut.layout"() {sym_name = "c16_b8", channels = 16, unit = 1, unit_size = 1, interleaved = 0, block = 8, pad = 8, repeat = 0} : () -> ()
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x16xi32, #y> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"], layout = @c8} : () -> tensor<?x8xi16, #x>
  // expected-error@+1 {{'lut.cluster' op a: expected an accumulator of at least 8 words for 4 tokens of a block of 8 outputs, got 4; use fewer tokens a pass, smaller blocks or a larger accumulator}}
  %1 = "lut.cluster"() ({
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x2x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x2x1x16xi32>) -> tensor<?x4x16xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x16xi32>) -> tensor<?x16xi32>
    %l = "lut.requantize"(%k) {weights = @a, shift = 20} : (tensor<?x16xi32>) -> tensor<?x16xi32, #y>
    "lut.yield"(%l) : (tensor<?x16xi32, #y>) -> ()
  }) {label = "a", engines = ["feed", "linear", "save"], layout = @c16_b8} : () -> tensor<?x16xi32, #y>
  return %1 : tensor<?x16xi32, #y>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
#y = #lut.fixed<24, -20>
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 20, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 4, codes_depth = 4, row_sources = ["exact_row"], weight_ports
    = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load", "save"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @a.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.codes(#ml_program.extern : tensor<4x1x16xi8>) : tensor<4x1x16xi8>
ml_program.global private @a.weight_codebook(#ml_program.extern : tensor<4x2x1x16x2xi8>) : tensor<4x2x1x16x2xi8>
ml_program.global private @a.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
ml_program.global private @a.bias(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
"lut.layout"() {sym_name = "c8", channels = 8, unit = 1, unit_size = 1, interleaved = 0, block = 8, pad = 4, repeat = 0} : () -> ()
"lut.layout"() {sym_name = "c16_b8", channels = 16, unit = 1, unit_size = 1, interleaved = 0, block = 8, pad = 8, repeat = 0} : () -> ()
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x16xi32, #y> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"], layout = @c8} : () -> tensor<?x8xi16, #x>
  // expected-error@+1 {{'lut.cluster' op a: expected at most 20 bits of a row entry on this engine, got 24; use a larger engine}}
  %1 = "lut.cluster"() ({
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x2x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x2x1x16xi32>) -> tensor<?x4x16xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x16xi32>) -> tensor<?x16xi32>
    %l = "lut.requantize"(%k) {weights = @a, shift = 20} : (tensor<?x16xi32>) -> tensor<?x16xi32, #y>
    "lut.yield"(%l) : (tensor<?x16xi32, #y>) -> ()
  }) {label = "a", engines = ["feed", "linear", "save"], layout = @c16_b8} : () -> tensor<?x16xi32, #y>
  return %1 : tensor<?x16xi32, #y>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
#y = #lut.fixed<24, -20>
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 20,
    requant_lanes = 4, tokens = 4, acc_words = 4, codes_depth = 4, row_sources = ["exact_row"], weight_ports
    = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load", "save"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @a.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.codes(#ml_program.extern : tensor<4x1x16xi8>) : tensor<4x1x16xi8>
ml_program.global private @a.weight_codebook(#ml_program.extern : tensor<4x2x1x16x2xi8>) : tensor<4x2x1x16x2xi8>
ml_program.global private @a.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
ml_program.global private @a.bias(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
"lut.layout"() {sym_name = "c8", channels = 8, unit = 1, unit_size = 1, interleaved = 0, block = 8, pad = 4, repeat = 0} : () -> ()
"lut.layout"() {sym_name = "c16_b8", channels = 16, unit = 1, unit_size = 1, interleaved = 0, block = 8, pad = 8, repeat = 0} : () -> ()
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x16xi32, #y> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"], layout = @c8} : () -> tensor<?x8xi16, #x>
  // expected-error@+1 {{'lut.cluster' op a: expected outputs of 20 bits, as the engine gives them, got 24; quantize all linears to one width}}
  %1 = "lut.cluster"() ({
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x2x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x2x1x16xi32>) -> tensor<?x4x16xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x16xi32>) -> tensor<?x16xi32>
    %l = "lut.requantize"(%k) {weights = @a, shift = 20} : (tensor<?x16xi32>) -> tensor<?x16xi32, #y>
    "lut.yield"(%l) : (tensor<?x16xi32, #y>) -> ()
  }) {label = "a", engines = ["feed", "linear", "save"], layout = @c16_b8} : () -> tensor<?x16xi32, #y>
  return %1 : tensor<?x16xi32, #y>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
#y = #lut.fixed<24, -20>
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 16, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 4, codes_depth = 4, row_sources = ["built_row"], weight_ports
    = 1, port_bits = {w = 64, c = 128, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load", "save"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @a.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.codes(#ml_program.extern : tensor<4x1x16xi8>) : tensor<4x1x16xi8>
ml_program.global private @a.weight_codebook(#ml_program.extern : tensor<4x2x1x16x2xi8>) : tensor<4x2x1x16x2xi8>
ml_program.global private @a.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
ml_program.global private @a.bias(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
"lut.layout"() {sym_name = "c8", channels = 8, unit = 1, unit_size = 1, interleaved = 0, block = 8, pad = 4, repeat = 0} : () -> ()
"lut.layout"() {sym_name = "c16_b8", channels = 16, unit = 1, unit_size = 1, interleaved = 0, block = 8, pad = 8, repeat = 0} : () -> ()
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x16xi32, #y> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"], layout = @c8} : () -> tensor<?x8xi16, #x>
  // expected-error@+1 {{'lut.cluster' op a: expected a row source among built_row, got exact_row; build the engine with it or decompose with another}}
  %1 = "lut.cluster"() ({
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x2x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x2x1x16xi32>) -> tensor<?x4x16xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x16xi32>) -> tensor<?x16xi32>
    %l = "lut.requantize"(%k) {weights = @a, shift = 20} : (tensor<?x16xi32>) -> tensor<?x16xi32, #y>
    "lut.yield"(%l) : (tensor<?x16xi32, #y>) -> ()
  }) {label = "a", engines = ["feed", "linear", "save"], layout = @c16_b8} : () -> tensor<?x16xi32, #y>
  return %1 : tensor<?x16xi32, #y>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
#y = #lut.fixed<24, -20>
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 4, codes_depth = 4, row_sources = ["exact_row"], weight_ports
    = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load", "save"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16384} : () -> ()
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @a.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.codes(#ml_program.extern : tensor<4x1x16xi8>) : tensor<4x1x16xi8>
ml_program.global private @a.weight_codebook(#ml_program.extern : tensor<4x2x1x16x2xi8>) : tensor<4x2x1x16x2xi8>
ml_program.global private @a.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
ml_program.global private @a.bias(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
"lut.layout"() {sym_name = "c8", channels = 8, unit = 1, unit_size = 1, interleaved = 0, block = 8, pad = 4, repeat = 0} : () -> ()
"lut.layout"() {sym_name = "c16_b8", channels = 16, unit = 1, unit_size = 1, interleaved = 0, block = 8, pad = 8, repeat = 0} : () -> ()
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x16xi32, #y> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"], layout = @c8} : () -> tensor<?x8xi16, #x>
  // expected-error@+1 {{'lut.cluster' op memory map: expected at most 16384 bytes, got 20480 with region a.c of 8 bytes; place fewer linears or tokens, or a target with more memory}}
  %1 = "lut.cluster"() ({
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x2x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x2x1x16xi32>) -> tensor<?x4x16xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x16xi32>) -> tensor<?x16xi32>
    %l = "lut.requantize"(%k) {weights = @a, shift = 20} : (tensor<?x16xi32>) -> tensor<?x16xi32, #y>
    "lut.yield"(%l) : (tensor<?x16xi32, #y>) -> ()
  }) {label = "a", engines = ["feed", "linear", "save"], layout = @c16_b8} : () -> tensor<?x16xi32, #y>
  return %1 : tensor<?x16xi32, #y>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
#y = #lut.fixed<24, -20>
// expected-error@+1 {{'lut.machine' op expected a memory x of at least 8 words, got 7; enlarge it}}
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 8, centroids = 2, chains = 2, act_stages = 1, metric = "chebyshev", row_entries = 16, row_writes = 16, sum_chains = 1,
    operand_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24,
    requant_lanes = 4, tokens = 4, acc_words = 4, codes_depth = 4, row_sources = ["exact_row"], weight_ports
    = 1, port_bits = {w = 64, c = 32, q = 64}, burst_beats = 16, outstanding = 8} : () -> ()
  "lut.memory"() {sym_name = "x", words = 7} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load", "save"],
  head_lanes = 8, attention_units = 1, attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 128, score_words = 512, item_words = 4, head_words = 2, watchdog = 1048576, latency = 64, memory_bytes = 16777216} : () -> ()
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @a.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.codes(#ml_program.extern : tensor<4x1x16xi8>) : tensor<4x1x16xi8>
ml_program.global private @a.weight_codebook(#ml_program.extern : tensor<4x2x1x16x2xi8>) : tensor<4x2x1x16x2xi8>
ml_program.global private @a.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
ml_program.global private @a.bias(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
"lut.layout"() {sym_name = "c8", channels = 8, unit = 1, unit_size = 1, interleaved = 0, block = 8, pad = 4, repeat = 0} : () -> ()
"lut.layout"() {sym_name = "c16_b8", channels = 16, unit = 1, unit_size = 1, interleaved = 0, block = 8, pad = 8, repeat = 0} : () -> ()
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x16xi32, #y> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"], layout = @c8} : () -> tensor<?x8xi16, #x>
  %1 = "lut.cluster"() ({
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x2x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x2x1x16xi32>) -> tensor<?x4x16xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x16xi32>) -> tensor<?x16xi32>
    %l = "lut.requantize"(%k) {weights = @a, shift = 20} : (tensor<?x16xi32>) -> tensor<?x16xi32, #y>
    "lut.yield"(%l) : (tensor<?x16xi32, #y>) -> ()
  }) {label = "a", engines = ["feed", "linear", "save"], layout = @c16_b8} : () -> tensor<?x16xi32, #y>
  return %1 : tensor<?x16xi32, #y>
}
