// RUN: lutllm-opt %s | lutllm-opt | FileCheck %s
// Four query heads of two channels share two heads of keys and values.

#x = #lut.fixed<16, @q.input.exponents>
#q = #lut.fixed<16, @a.query.exponents>
#k = #lut.fixed<8, @a.key.exponents>
#v = #lut.fixed<8, @a.value.exponents>

ml_program.global private @a.query.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @a.key.exponents(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
ml_program.global private @a.value.exponents(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
ml_program.global private @a.multiplier(#ml_program.extern : tensor<4xi32>) : tensor<4xi32>
ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>

// CHECK-LABEL: func.func @attention(
func.func @attention(%a: tensor<?x8xi16, #q>, %b: tensor<16x4xi8, #k>, %c: tensor<16x4xi8, #v>, %d: tensor<1xi32>) -> tensor<?x8xi16, #x> {
  // CHECK: "lut.attention"(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) {heads = 4 : i64, kv_heads = 2 : i64, multiplier = @a.multiplier, shift = 20 : i64} : (tensor<?x8xi16, #lut.fixed<16 : i64, @a.query.exponents>>, tensor<16x4xi8, #lut.fixed<8 : i64, @a.key.exponents>>, tensor<16x4xi8, #lut.fixed<8 : i64, @a.value.exponents>>, tensor<1xi32>) -> tensor<?x8xi16, #lut.fixed<16 : i64, @q.input.exponents>>
  %0 = "lut.attention"(%a, %b, %c, %d) {heads = 4, kv_heads = 2, multiplier = @a.multiplier, shift = 20} : (tensor<?x8xi16, #q>, tensor<16x4xi8, #k>, tensor<16x4xi8, #v>, tensor<1xi32>) -> tensor<?x8xi16, #x>
  // CHECK: "lut.attention"({{.*}} shift = 20 : i64, window = 4 : i64}
  %1 = "lut.attention"(%a, %b, %c, %d) {heads = 4, kv_heads = 2, multiplier = @a.multiplier, shift = 20, window = 4} : (tensor<?x8xi16, #q>, tensor<16x4xi8, #k>, tensor<16x4xi8, #v>, tensor<1xi32>) -> tensor<?x8xi16, #x>
  return %0 : tensor<?x8xi16, #x>
}
