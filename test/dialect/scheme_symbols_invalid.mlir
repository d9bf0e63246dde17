// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// `scheme` names a lut.scheme of the module around the op.

func.func @f(%a: tensor<?x4x2x2x16xi32>) {
  // expected-error@+1 {{'lut.table_lookup' op expected a 'lut.scheme' named @vq for 'scheme', got none; add it to the module}}
  %0 = "lut.table_lookup"(%a) {scheme = @vq, weights = @q} : (tensor<?x4x2x2x16xi32>) -> tensor<?x4x6xi32>
  return
}

// -----

ml_program.global private @vq(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
func.func @f(%a: tensor<?x4x2x2x16xi32>) {
  // expected-error@+1 {{'lut.table_lookup' op expected a 'lut.scheme' named @vq for 'scheme', got a 'ml_program.global'; name the right op}}
  %0 = "lut.table_lookup"(%a) {scheme = @vq, weights = @q} : (tensor<?x4x2x2x16xi32>) -> tensor<?x4x6xi32>
  return
}

// -----

"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
module {
func.func @f(%a: tensor<?x4x2x2x16xi32>) {
  // expected-error@+1 {{'lut.table_lookup' op expected a 'lut.scheme' named @vq for 'scheme', got none; add it to the module}}
  %0 = "lut.table_lookup"(%a) {scheme = @vq, weights = @q} : (tensor<?x4x2x2x16xi32>) -> tensor<?x4x6xi32>
  return
}
}

// -----

// expected-note@+1 {{see existing symbol definition here}}
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
// expected-error@+1 {{redefinition of symbol named 'vq'}}
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 16, c_w = 16, G = 4, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
