// The linears of a module become one function on tokens of any number, each stands there once.
// RUN: lutllm-opt %s --lut-extract-linears --mlir-print-debuginfo | FileCheck %s

#x = #lut.fixed<16, @q.input.exponents>
#y = #lut.fixed<24, -9>
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @q.codes(#ml_program.extern : tensor<4x1x8xi8>) : tensor<4x1x8xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<4x1x1x16x2xi8>) : tensor<4x1x1x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>

// CHECK: "lut.scheme"
// CHECK: func.func @prefill(%arg0: tensor<?x8xi16, #{{.*}}> loc({{.*}})) -> tensor<?x8xi32, #{{.*}}> {
// CHECK-NEXT: [[A:%.*]] = "lut.linear"(%arg0) {scheme = @exact, shift = 20 : i64, weights = @q} : {{.*}} loc([[L:#.*]])
// CHECK-NEXT: return [[A]] :
// CHECK-NOT: func.func
// CHECK: [[L]] = loc("layers.0.q"(
func.func @main(%x: tensor<2x3x8xf32>) -> tensor<2x3x8xf32> {
  %0 = "lut.quantize"(%x) : (tensor<2x3x8xf32>) -> tensor<2x3x8xi16, #x>
  %1 = "lut.linear"(%0) {scheme = @exact, weights = @q, shift = 20} : (tensor<2x3x8xi16, #x>) -> tensor<2x3x8xi32, #y> loc("layers.0.q"("model.py":1:1))
  %2 = "lut.linear"(%0) {scheme = @exact, weights = @q, shift = 20} : (tensor<2x3x8xi16, #x>) -> tensor<2x3x8xi32, #y>
  %3 = "lut.dequantize"(%1) : (tensor<2x3x8xi32, #y>) -> tensor<2x3x8xf32>
  return %3 : tensor<2x3x8xf32>
}
