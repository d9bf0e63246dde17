// RUN: lutllm-opt %s --lut-order --split-input-file --verify-diagnostics
// What every pass from lut-layout on takes for granted of functions: what hardware runs, what it knows of a pass, results
// where it leaves them.

// expected-error@+1 {{'func.func' op expected a function of one block named @prefill, @decode, @head, which hardware runs, got @forward; rename or remove it}}
func.func @forward() {
  return
}

// -----

// expected-error@+1 {{'builtin.module' op expected a function @prefill, which hardware runs first, got none; name one so}}
module {}

// -----

#r = #lut.fixed<26, -16>
func.func @prefill(%x: tensor<?x8xi32, #r>) -> tensor<?x8xi32, #r> {
  // expected-error@+1 {{'lut.add' op expected clusters and tasks in a function, got it; run lut-place}}
  %0 = "lut.add"(%x, %x) : (tensor<?x8xi32, #r>, tensor<?x8xi32, #r>) -> tensor<?x8xi32, #r>
  return %0 : tensor<?x8xi32, #r>
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
  // expected-error@+1 {{'lut.cluster' op expected a label that no other cluster of the function has, got 'x' again; change it}}
  %1 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  return %0 : tensor<?x8xi16, #x>
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
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<1x8xi16, #x> {
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
    // expected-error@+1 {{'lut.last_token' op expected it in @head alone, which works on the last token, got it in @prefill; run lut-outline-head}}
    %t = "lut.last_token"(%1) : (tensor<?x8xi32, #y>) -> tensor<1x8xi32, #y>
    %n = "lut.rms_norm"(%t) {gain = @norm.gain, groups = 1, epsilon = 40, shift = 12} : (tensor<1x8xi32, #y>) -> tensor<1x8xi32, #n>
    %o = "lut.rescale"(%n) : (tensor<1x8xi32, #n>) -> tensor<1x8xi16, #x>
    "lut.yield"(%o) : (tensor<1x8xi16, #x>) -> ()
  }) {label = "n", engines = ["norm"]} : () -> tensor<1x8xi16, #x>
  return %2 : tensor<1x8xi16, #x>
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
func.func @head(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi16, #x> {
  // expected-error@+1 {{'lut.cluster' op expected clusters of @head to work on the last token of the residual stream, got another; move it}}
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  return %0 : tensor<?x8xi16, #x>
}
func.func @prefill() {
  return
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
func.func @prefill(%x: tensor<2x?x8xi16, #x>) -> tensor<2x?x8xi16, #x> {
  // expected-error@+1 {{'lut.cluster' op expected one dimension of tokens, got a result of type tensor<2x?x8xi16, #lut.fixed<16 : i64, @a.input.exponents>>; change the type}}
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<2x?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<2x?x8xi16, #x>
  return %0 : tensor<2x?x8xi16, #x>
}

// -----

#k = #lut.fixed<8, @k.exponents>
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
ml_program.global private @k.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
func.func @prefill(%x: tensor<?x8xi16, #x>, %p: tensor<1xi32>, %q: tensor<1xi32>, %c: tensor<16x8xi8, #k>, %d: tensor<16x8xi8, #k>) -> (tensor<16x8xi8, #k>, tensor<16x8xi8, #k>) {
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
    %n = "lut.rescale"(%1) : (tensor<?x8xi32, #y>) -> tensor<?x8xi8, #k>
    %o = "lut.append"(%c, %n, %p) : (tensor<16x8xi8, #k>, tensor<?x8xi8, #k>, tensor<1xi32>) -> tensor<16x8xi8, #k>
    "lut.yield"(%o) : (tensor<16x8xi8, #k>) -> ()
  }) {label = "k", engines = ["heads"]} : () -> tensor<16x8xi8, #k>
  %3 = "lut.cluster"() ({
    %n = "lut.rescale"(%1) : (tensor<?x8xi32, #y>) -> tensor<?x8xi8, #k>
    // expected-error@+1 {{'lut.append' op expected the position of the pass, one argument of the function, got another value; change operand 2}}
    %o = "lut.append"(%d, %n, %q) : (tensor<16x8xi8, #k>, tensor<?x8xi8, #k>, tensor<1xi32>) -> tensor<16x8xi8, #k>
    "lut.yield"(%o) : (tensor<16x8xi8, #k>) -> ()
  }) {label = "v", engines = ["heads"]} : () -> tensor<16x8xi8, #k>
  return %2, %3 : tensor<16x8xi8, #k>, tensor<16x8xi8, #k>
}

// -----

#k = #lut.fixed<8, @k.exponents>
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
ml_program.global private @k.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
func.func @prefill(%x: tensor<?x8xi16, #x>, %p: tensor<1xi32>, %c: tensor<16x8xi8, #k>) -> (tensor<16x8xi8, #k>, tensor<16x8xi8, #k>) {
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
  // expected-error@+1 {{'lut.cluster' op expected a KV cache that nobody else takes as it was before, got another use of it; take its result}}
  %2 = "lut.cluster"() ({
    %n = "lut.rescale"(%1) : (tensor<?x8xi32, #y>) -> tensor<?x8xi8, #k>
    %o = "lut.append"(%c, %n, %p) : (tensor<16x8xi8, #k>, tensor<?x8xi8, #k>, tensor<1xi32>) -> tensor<16x8xi8, #k>
    "lut.yield"(%o) : (tensor<16x8xi8, #k>) -> ()
  }) {label = "k", engines = ["heads"]} : () -> tensor<16x8xi8, #k>
  return %2, %c : tensor<16x8xi8, #k>, tensor<16x8xi8, #k>
}

// -----

#k = #lut.fixed<8, @k.exponents>
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
ml_program.global private @k.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
func.func @prefill(%x: tensor<?x8xi16, #x>, %p: tensor<1xi32>, %c: tensor<16x8xi8, #k>, %d: tensor<16x8xi8, #k>) -> (tensor<16x8xi8, #k>, tensor<16x8xi8, #k>) {
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
    %n = "lut.rescale"(%1) : (tensor<?x8xi32, #y>) -> tensor<?x8xi8, #k>
    %o = "lut.append"(%c, %n, %p) : (tensor<16x8xi8, #k>, tensor<?x8xi8, #k>, tensor<1xi32>) -> tensor<16x8xi8, #k>
    "lut.yield"(%o) : (tensor<16x8xi8, #k>) -> ()
  }) {label = "k", engines = ["heads"]} : () -> tensor<16x8xi8, #k>
  %3 = "lut.cluster"() ({
    %n = "lut.rescale"(%1) : (tensor<?x8xi32, #y>) -> tensor<?x8xi8, #k>
    %o = "lut.append"(%d, %n, %p) : (tensor<16x8xi8, #k>, tensor<?x8xi8, #k>, tensor<1xi32>) -> tensor<16x8xi8, #k>
    "lut.yield"(%o) : (tensor<16x8xi8, #k>) -> ()
  }) {label = "v", engines = ["heads"]} : () -> tensor<16x8xi8, #k>
  // expected-error@+1 {{'func.return' op expected the KV caches of arguments [2, 3] in this order, got [3, 2]; change its operands}}
  return %3, %2 : tensor<16x8xi8, #k>, tensor<16x8xi8, #k>
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
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x1x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x1x1x16xi32>) -> tensor<?x4x8xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x8xi32>) -> tensor<?x8xi32>
    %l = "lut.requantize"(%k) {weights = @a, shift = 20} : (tensor<?x8xi32>) -> tensor<?x8xi32, #y>
    "lut.yield"(%l) : (tensor<?x8xi32, #y>) -> ()
  }) {label = "a", engines = ["feed", "linear", "store"]} : () -> tensor<?x8xi32, #y>
  // expected-error@+1 {{'func.return' op expected values that hardware keeps: saved, picked, KV caches or the residual stream, got operand 0, which it does not; change its operands}}
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
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y> {
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
    %i = "lut.exact_row"(%0) {scheme = @exact, weights = @a} : (tensor<?x8xi16, #x>) -> tensor<?x4x1x1x16xi32>
    %j = "lut.table_lookup"(%i) {scheme = @exact, weights = @a} : (tensor<?x4x1x1x16xi32>) -> tensor<?x4x8xi32>
    %k = "lut.prefix_sum"(%j) : (tensor<?x4x8xi32>) -> tensor<?x8xi32>
    %l = "lut.requantize"(%k) {weights = @a, shift = 20} : (tensor<?x8xi32>) -> tensor<?x8xi32, #y>
    %m = "lut.add"(%1, %l) : (tensor<?x8xi32, #y>, tensor<?x8xi32, #y>) -> tensor<?x8xi32, #r>
    "lut.yield"(%m) : (tensor<?x8xi32, #r>) -> ()
  }) {label = "b", engines = ["feed", "linear", "residual"]} : () -> tensor<?x8xi32, #r>
  // expected-error@+1 {{'func.return' op expected the residual stream as the last cluster leaves it, got an earlier state of it; return the last}}
  return %1 : tensor<?x8xi32, #y>
}
