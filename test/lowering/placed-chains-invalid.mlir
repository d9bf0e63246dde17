// RUN: lutllm-opt %s --lut-order --split-input-file --verify-diagnostics
// A cluster has the ops that its engines compute, with operands in the memories that these read.

#x = #lut.fixed<16, @a.input.exponents>
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
ml_program.global private @norm.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>, %j2: tensor<?x8xi32>) -> tensor<?x8xi32, #y> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  %1 = "lut.cluster"() ({
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x1x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x1x1x16xi32>) -> tensor<?x4x8xi32>
    // expected-error@+1 {{'lut.requantize' op expected 'lut.prefix_sum' here on engines feed, linear, save, got it; put it in a cluster of its own}}
    %l = "lut.requantize"(%j2) {weights = @a, shift = 20} : (tensor<?x8xi32>) -> tensor<?x8xi32, #y>
    "lut.yield"(%l) : (tensor<?x8xi32, #y>) -> ()
  }) {label = "a", engines = ["feed", "linear", "save"]} : () -> tensor<?x8xi32, #y>
  return %1 : tensor<?x8xi32, #y>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
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
ml_program.global private @norm.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi32> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  // expected-error@+1 {{'lut.cluster' op expected 'lut.requantize' in it on engines feed, linear, save, got none; change its engines or its ops}}
  %1 = "lut.cluster"() ({
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x1x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x1x1x16xi32>) -> tensor<?x4x8xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x8xi32>) -> tensor<?x8xi32>
    "lut.yield"(%k) : (tensor<?x8xi32>) -> ()
  }) {label = "a", engines = ["feed", "linear", "save"]} : () -> tensor<?x8xi32>
  return %1 : tensor<?x8xi32>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
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
ml_program.global private @norm.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  %1 = "lut.cluster"() ({
    // expected-error@+1 {{'lut.exact_row' op expected 'lut.last_token' or 'lut.rms_norm' or 'lut.rescale' here on engines norm, got it; put it in a cluster of its own}}
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x1x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x1x1x16xi32>) -> tensor<?x4x8xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x8xi32>) -> tensor<?x8xi32>
    %l = "lut.requantize"(%k) {weights = @a, shift = 20} : (tensor<?x8xi32>) -> tensor<?x8xi32, #y>
    "lut.yield"(%l) : (tensor<?x8xi32, #y>) -> ()
  }) {label = "a", engines = ["norm"]} : () -> tensor<?x8xi32, #y>
  return %1 : tensor<?x8xi32, #y>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
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
ml_program.global private @norm.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi16, #x> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  // expected-error@+1 {{'lut.cluster' op expected it to yield what its last op makes, got another value; change it}}
  %1 = "lut.cluster"() ({
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x1x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x1x1x16xi32>) -> tensor<?x4x8xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x8xi32>) -> tensor<?x8xi32>
    %l = "lut.requantize"(%k) {weights = @a, shift = 20} : (tensor<?x8xi32>) -> tensor<?x8xi32, #y>
    "lut.yield"(%0) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "a", engines = ["feed", "linear", "save"]} : () -> tensor<?x8xi16, #x>
  return %1 : tensor<?x8xi16, #x>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
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
ml_program.global private @norm.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi16, #x> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  // expected-error@+1 {{'lut.cluster' op expected it to yield an argument of the function on engines load, got another value; change it}}
  %1 = "lut.cluster"() ({
    "lut.yield"(%0) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "y", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  return %1 : tensor<?x8xi16, #x>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
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
ml_program.global private @norm.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi32, #r> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  %1 = "lut.cluster"() ({
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x1x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x1x1x16xi32>) -> tensor<?x4x8xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x8xi32>) -> tensor<?x8xi32>
    %l = "lut.requantize"(%k) {weights = @a, shift = 20} : (tensor<?x8xi32>) -> tensor<?x8xi32, #y>
    // expected-error@+1 {{'lut.add' op expected the op before it to make operand 0 or 1 and no other, got [0, 1]; change its operands}}
    %m = "lut.add"(%l, %l) : (tensor<?x8xi32, #y>, tensor<?x8xi32, #y>) -> tensor<?x8xi32, #r>
    "lut.yield"(%m) : (tensor<?x8xi32, #r>) -> ()
  }) {label = "a", engines = ["feed", "linear", "residual"]} : () -> tensor<?x8xi32, #r>
  return %1 : tensor<?x8xi32, #r>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
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
ml_program.global private @norm.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi16, #x> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  %1 = "lut.cluster"() ({
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x1x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x1x1x16xi32>) -> tensor<?x4x8xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x8xi32>) -> tensor<?x8xi32>
    %l = "lut.requantize"(%k) {weights = @a, shift = 20} : (tensor<?x8xi32>) -> tensor<?x8xi32, #y>
    "lut.yield"(%l) : (tensor<?x8xi32, #y>) -> ()
  }) {label = "a", engines = ["feed", "linear", "store"]} : () -> tensor<?x8xi32, #y>
  %2 = "lut.cluster"() ({
    // expected-error@+1 {{'lut.rms_norm' op expected operand 0 in memory r, which its engine reads, got it in memory y; no engine moves it there}}
    %n = "lut.rms_norm"(%1) {gain = @norm.gain, groups = 1, epsilon = 40, shift = 12} : (tensor<?x8xi32, #y>) -> tensor<?x8xi32, #n>
    %o = "lut.rescale"(%n) : (tensor<?x8xi32, #n>) -> tensor<?x8xi16, #x>
    "lut.yield"(%o) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "n", engines = ["norm"]} : () -> tensor<?x8xi16, #x>
  return %2 : tensor<?x8xi16, #x>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
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
ml_program.global private @norm.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi16, #x> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  %1 = "lut.cluster"() ({
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x1x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x1x1x16xi32>) -> tensor<?x4x8xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x8xi32>) -> tensor<?x8xi32>
    %l = "lut.requantize"(%k) {weights = @a, shift = 20} : (tensor<?x8xi32>) -> tensor<?x8xi32, #y>
    "lut.yield"(%l) : (tensor<?x8xi32, #y>) -> ()
  }) {label = "a", engines = ["feed", "linear", "save"]} : () -> tensor<?x8xi32, #y>
  %2 = "lut.cluster"() ({
    // expected-error@+1 {{'lut.rms_norm' op expected operand 0 in memory r, which its engine reads, got it outside the chip; no engine moves it there}}
    %n = "lut.rms_norm"(%1) {gain = @norm.gain, groups = 1, epsilon = 40, shift = 12} : (tensor<?x8xi32, #y>) -> tensor<?x8xi32, #n>
    %o = "lut.rescale"(%n) : (tensor<?x8xi32, #n>) -> tensor<?x8xi16, #x>
    "lut.yield"(%o) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "n", engines = ["norm"]} : () -> tensor<?x8xi16, #x>
  return %2 : tensor<?x8xi16, #x>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
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
ml_program.global private @norm.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>, %p: tensor<?x8xi32>) -> tensor<?x8xi32, #y> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  %1 = "lut.cluster"() ({
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x1x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x1x1x16xi32>) -> tensor<?x4x8xi32>
    // expected-error@+1 {{'lut.prefix_sum' op expected operand 1 to be made by the op before it, got it among the arguments; remove it}}
    %k = "lut.prefix_sum"(%j, %p) : (tensor<?x4x8xi32>, tensor<?x8xi32>) -> tensor<?x8xi32>
    %l = "lut.requantize"(%k) {weights = @a, shift = 20} : (tensor<?x8xi32>) -> tensor<?x8xi32, #y>
    "lut.yield"(%l) : (tensor<?x8xi32, #y>) -> ()
  }) {label = "a", engines = ["feed", "linear", "save"]} : () -> tensor<?x8xi32, #y>
  return %1 : tensor<?x8xi32, #y>
}

// -----

#s = #lut.fixed<27, -20>
#x = #lut.fixed<16, @a.input.exponents>
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
ml_program.global private @norm.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi16, #x> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  %1 = "lut.cluster"() ({
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x1x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x1x1x16xi32>) -> tensor<?x4x8xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x8xi32>) -> tensor<?x8xi32>
    %l = "lut.requantize"(%k) {weights = @a, shift = 20} : (tensor<?x8xi32>) -> tensor<?x8xi32, #y>
    "lut.yield"(%l) : (tensor<?x8xi32, #y>) -> ()
  }) {label = "a", engines = ["feed", "linear", "residual"]} : () -> tensor<?x8xi32, #y>
  %2 = "lut.cluster"() ({
    // expected-error@+1 {{'lut.rms_norm' op expected 28 bits, as engine norm gives them, got 27; quantize again}}
    %n = "lut.rms_norm"(%1) {gain = @norm.gain, groups = 1, epsilon = 40, shift = 12} : (tensor<?x8xi32, #y>) -> tensor<?x8xi32, #s>
    %o = "lut.rescale"(%n) : (tensor<?x8xi32, #s>) -> tensor<?x8xi16, #x>
    "lut.yield"(%o) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "n", engines = ["norm"]} : () -> tensor<?x8xi16, #x>
  return %2 : tensor<?x8xi16, #x>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
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
ml_program.global private @norm.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @half.gain(#ml_program.extern : tensor<4xi32>) : tensor<4xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi16, #x> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  %1 = "lut.cluster"() ({
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x1x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x1x1x16xi32>) -> tensor<?x4x8xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x8xi32>) -> tensor<?x8xi32>
    %l = "lut.requantize"(%k) {weights = @a, shift = 20} : (tensor<?x8xi32>) -> tensor<?x8xi32, #y>
    "lut.yield"(%l) : (tensor<?x8xi32, #y>) -> ()
  }) {label = "a", engines = ["feed", "linear", "residual"]} : () -> tensor<?x8xi32, #y>
  %2 = "lut.cluster"() ({
    // expected-error@+1 {{'lut.rms_norm' op expected groups = 1, as engine norm norms, got 2; change it}}
    %n = "lut.rms_norm"(%1) {gain = @half.gain, groups = 2, epsilon = 40, shift = 12} : (tensor<?x8xi32, #y>) -> tensor<?x8xi32, #n>
    %o = "lut.rescale"(%n) : (tensor<?x8xi32, #n>) -> tensor<?x8xi16, #x>
    "lut.yield"(%o) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "n", engines = ["norm"]} : () -> tensor<?x8xi16, #x>
  return %2 : tensor<?x8xi16, #x>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
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
ml_program.global private @norm.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @b.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @b.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  %1 = "lut.cluster"() ({
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x1x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x1x1x16xi32>) -> tensor<?x4x8xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x8xi32>) -> tensor<?x8xi32>
    // expected-error@+1 {{'lut.requantize' op expected weights = @a, got @b; use one for both}}
    %l = "lut.requantize"(%k) {weights = @b, shift = 20} : (tensor<?x8xi32>) -> tensor<?x8xi32, #y>
    "lut.yield"(%l) : (tensor<?x8xi32, #y>) -> ()
  }) {label = "a", engines = ["feed", "linear", "save"]} : () -> tensor<?x8xi32, #y>
  return %1 : tensor<?x8xi32, #y>
}

// -----

#x = #lut.fixed<16, @a.input.exponents>
ml_program.global private @a.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi16, #x> {
  // expected-error@+1 {{'lut.cluster' op expected no reps on engines load, got one; remove it}}
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"], reps = 1} : () -> tensor<?x8xi16, #x>
  return %0 : tensor<?x8xi16, #x>
}
