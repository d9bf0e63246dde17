// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// Places stand at module level, clusters in functions; tasks follow them, joined by tokens.

#x = #lut.fixed<16, @q.input.exponents>
ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
// CHECK: "lut.layout"() {block = 8 : i64, channels = 8 : i64, {{.*}}sym_name = "c8"
"lut.layout"() {sym_name = "c8", channels = 8, unit = 1, unit_size = 1, interleaved = 0, block = 8, pad = 8, repeat = 0} : () -> ()
// CHECK: "lut.buffer"() {base = 0 : i64, memory = "x", size = 8 : i64, sym_name = "x0", words = 2 : i64}
"lut.buffer"() {sym_name = "x0", memory = "x", base = 0, words = 2, size = 8} : () -> ()
// CHECK-COUNT-4: "lut.region"()
"lut.region"() {sym_name = "x.x", kind = "x", address = 0, bytes = 64} : () -> ()
"lut.region"() {sym_name = "q.c", kind = "c", address = 64, bytes = 64} : () -> ()
"lut.region"() {sym_name = "q.q", kind = "q", address = 128, bytes = 64} : () -> ()
"lut.region"() {sym_name = "q.w", kind = "w", address = 192, bytes = 64} : () -> ()
// CHECK: "lut.round"() {c = @q.c, first = 0 : i64, outputs = 8 : i64, q = @q.q, sym_name = "q.0", w = [@q.w]}
"lut.round"() {sym_name = "q.0", first = 0, outputs = 8, c = @q.c, q = @q.q, w = [@q.w]} : () -> ()

// CHECK: func.func @prefill
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi16, #x> {
  // CHECK-NEXT: [[X:%.*]] = "lut.cluster"() ({
  // CHECK-NEXT: "lut.yield"(%arg0)
  // CHECK-NEXT: }) {buffer = @x0, engines = ["load"], label = "x", layout = @c8, region = @x.x} : () -> tensor<?x8xi16,
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"], layout = @c8, buffer = @x0, region = @x.x} : () -> tensor<?x8xi16, #x>
  // CHECK-NEXT: [[A:%.*]] = "lut.task"([[X]]) {engine = "load"} : (tensor<?x8xi16, #{{.*}}>) -> !lut.token
  // CHECK-NEXT: "lut.task"([[X]], [[A]]) {engine = "feed", round = 0 : i64} : ({{.*}}, !lut.token) -> !lut.token
  %1 = "lut.task"(%0) {engine = "load"} : (tensor<?x8xi16, #x>) -> !lut.token
  %2 = "lut.task"(%0, %1) {engine = "feed", round = 0} : (tensor<?x8xi16, #x>, !lut.token) -> !lut.token
  return %0 : tensor<?x8xi16, #x>
}
