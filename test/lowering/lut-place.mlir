// A linear, a norm and a linear: each op goes to the engine that computes it, what comes from outside is loaded, what
// leaves is saved; the machine has what is used, and follows the schemes.
// RUN: lutllm-opt %s --lut-decompose --lut-place=target=tiny | FileCheck %s

// CHECK: "lut.scheme"
// CHECK-NEXT: "lut.machine"() ({
// CHECK-NEXT: "lut.linear_engine"() {{{.*}}acc_words = 64 : i64,{{.*}}lanes = 8 : i64,{{.*}}row_sources = ["exact_row"]
// CHECK-NEXT: }) {attention_ports = 1 : i64, attention_rows = 1 : i64, attention_units = 1 : i64, attention_ways = 1 : i64, context = 128 : i64, engines = ["linear", "feed", "norm", "residual", "load", "save"],
// CHECK: func.func @prefill(%arg0: tensor<?x8xi16,
// CHECK-NEXT: [[X:%.*]] = "lut.cluster"() ({
// CHECK-NEXT: "lut.yield"(%arg0)
// CHECK-NEXT: }) {engines = ["load"], label = "input0"}
// CHECK-NEXT: [[A:%.*]] = "lut.cluster"() ({
// CHECK-NEXT: [[ROWS:%.*]] = "lut.exact_row"([[X]])
// CHECK-NEXT: [[TERMS:%.*]] = "lut.table_lookup"([[ROWS]])
// CHECK-NEXT: [[SUM:%.*]] = "lut.prefix_sum"([[TERMS]])
// CHECK-NEXT: [[Y:%.*]] = "lut.requantize"([[SUM]])
// CHECK-NEXT: "lut.yield"([[Y]])
// CHECK-NEXT: }) {engines = ["feed", "linear", "residual"], label = "a"}
// CHECK-NEXT: [[N:%.*]] = "lut.cluster"() ({
// CHECK-NEXT: [[Z:%.*]] = "lut.rms_norm"([[A]])
// CHECK-NEXT: [[M:%.*]] = "lut.rescale"([[Z]])
// CHECK-NEXT: "lut.yield"([[M]])
// CHECK-NEXT: }) {engines = ["norm"], label = "rescale"}
// CHECK-NEXT: [[B:%.*]] = "lut.cluster"() ({
// CHECK-NEXT: "lut.exact_row"([[N]])
// CHECK: }) {engines = ["feed", "linear", "save"], label = "b"}
// CHECK-NEXT: return [[B]]

#x = #lut.fixed<16, @a.input.exponents>
#m = #lut.fixed<16, @b.input.exponents>
#n = #lut.fixed<28, -20>
#y = #lut.fixed<24, -20>
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 8, R = 1, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @a.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.codes(#ml_program.extern : tensor<4x1x16xi8>) : tensor<4x1x16xi8>
ml_program.global private @a.weight_codebook(#ml_program.extern : tensor<4x2x1x16x2xi8>) : tensor<4x2x1x16x2xi8>
ml_program.global private @a.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
ml_program.global private @a.bias(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
ml_program.global private @norm.gain(#ml_program.extern : tensor<16xi32>) : tensor<16xi32>
ml_program.global private @b.input.exponents(#ml_program.extern : tensor<8xi8>) : tensor<8xi8>
ml_program.global private @b.codes(#ml_program.extern : tensor<8x1x8xi8>) : tensor<8x1x8xi8>
ml_program.global private @b.weight_codebook(#ml_program.extern : tensor<8x1x1x16x2xi8>) : tensor<8x1x1x16x2xi8>
ml_program.global private @b.shifts(#ml_program.extern : tensor<8x2xi8>) : tensor<8x2xi8>
ml_program.global private @b.multiplier(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @b.bias(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi32, #y> {
  %0 = "lut.linear"(%x) {scheme = @exact, weights = @a, shift = 20} : (tensor<?x8xi16, #x>) -> tensor<?x16xi32, #y>
  %1 = "lut.rms_norm"(%0) {gain = @norm.gain, groups = 1, epsilon = 40, shift = 12} : (tensor<?x16xi32, #y>) -> tensor<?x16xi32, #n>
  %2 = "lut.rescale"(%1) : (tensor<?x16xi32, #n>) -> tensor<?x16xi16, #m>
  %3 = "lut.linear"(%2) {scheme = @exact, weights = @b, shift = 20} : (tensor<?x16xi16, #m>) -> tensor<?x8xi32, #y>
  return %3 : tensor<?x8xi32, #y>
}
