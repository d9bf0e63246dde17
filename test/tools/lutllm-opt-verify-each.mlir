// MLIR's symbol-dce does not see a symbol that stands in a value's type only; verification after the pass does.
// RUN: not lutllm-opt %s --symbol-dce 2>&1 | FileCheck %s
// RUN: not lutllm-opt %s --symbol-dce --verify-each 2>&1 | FileCheck %s
// RUN: not lutllm-opt %s --pass-pipeline="builtin.module(symbol-dce,func.func(cse))" --verify-each=1 2>&1 | FileCheck %s
// RUN: lutllm-opt %s --symbol-dce --verify-each=0 | FileCheck %s --check-prefix=OFF
// RUN: lutllm-opt %s --lut-symbol-dce | FileCheck %s --check-prefix=OURS

// CHECK: verify-each.mlir:[[# @LINE + 10]]:8: error: 'lut.centroid_search' op expected a ml_program.global @x.exponents
// OFF-NOT: ml_program.global private @x.exponents
// OURS: ml_program.global private @x.exponents
#x = #lut.fixed<16, @x.exponents>
"lut.scheme"() {sym_name = "vq", kind = "vq", v = 2, c_a = 4, c_w = 16, G = 3, R = 2, S = 1, metric = "chebyshev", x_bits = 16, act_bits = 16,
  weight_bits = 8, table_bits = 8, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @x.codebook(#ml_program.extern : tensor<2x1x4x2xi16>) : tensor<2x1x4x2xi16>
ml_program.global private @x.exponents(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
func.func @f() -> tensor<1x2x1xi8> {
  %0 = tensor.empty() : tensor<1x4xi16, #x>
  %1 = "lut.centroid_search"(%0) {scheme = @vq, codebook = @x.codebook} : (tensor<1x4xi16, #x>) -> tensor<1x2x1xi8>
  return %1 : tensor<1x2x1xi8>
}
