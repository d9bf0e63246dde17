// What makes the next token becomes @head; @prefill and @decode return the residual stream and their caches, @score goes.
// RUN: lutllm-opt %s --lut-outline-head | FileCheck %s
// RUN: lutllm-opt %s --lut-outline-head --lut-outline-head | FileCheck %s

#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>
#k = #lut.fixed<8, @keys.exponents>
ml_program.global private @norm.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
ml_program.global private @keys.exponents(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>

// CHECK-LABEL: func.func @prefill
// CHECK-SAME: -> (tensor<?x8xi32, #{{.*}}>, tensor<16x4xi8, #{{.*}}>)
// CHECK-NEXT: [[X:%.*]] = "lut.add"
// CHECK-NEXT: return [[X]], %arg1
func.func @prefill(%x: tensor<?x8xi32, #r>, %k: tensor<16x4xi8, #k>) -> (tensor<1xi32>, tensor<1x8xi32, #n>, tensor<16x4xi8, #k>) {
  %0 = "lut.add"(%x, %x) : (tensor<?x8xi32, #r>, tensor<?x8xi32, #r>) -> tensor<?x8xi32, #r>
  %1 = "lut.last_token"(%0) : (tensor<?x8xi32, #r>) -> tensor<1x8xi32, #r>
  %2 = "lut.rms_norm"(%1) {gain = @norm.gain, groups = 1, epsilon = 40, shift = 12} : (tensor<1x8xi32, #r>) -> tensor<1x8xi32, #n>
  %3 = "lut.argmax"(%2) : (tensor<1x8xi32, #n>) -> tensor<1xi32>
  return %3, %2, %k : tensor<1xi32>, tensor<1x8xi32, #n>, tensor<16x4xi8, #k>
}

// CHECK-LABEL: func.func @decode
// CHECK-SAME: -> tensor<1x8xi32, #{{.*}}>
// CHECK-NEXT: return %arg0
func.func @decode(%x: tensor<1x8xi32, #r>) -> tensor<1xi32> {
  %1 = "lut.last_token"(%x) : (tensor<1x8xi32, #r>) -> tensor<1x8xi32, #r>
  %2 = "lut.rms_norm"(%1) {gain = @norm.gain, groups = 1, epsilon = 40, shift = 12} : (tensor<1x8xi32, #r>) -> tensor<1x8xi32, #n>
  %3 = "lut.argmax"(%2) : (tensor<1x8xi32, #n>) -> tensor<1xi32>
  return %3 : tensor<1xi32>
}

// CHECK-NOT: @score
func.func @score(%x: tensor<?x8xi32, #r>) -> tensor<?x8xi32, #r> {
  return %x : tensor<?x8xi32, #r>
}

// CHECK-LABEL: func.func @head(%arg0: tensor<?x8xi32, #{{.*}}>) -> tensor<1xi32>
// CHECK-NEXT: [[L:%.*]] = "lut.last_token"(%arg0)
// CHECK-NEXT: [[N:%.*]] = "lut.rms_norm"([[L]])
// CHECK-NEXT: [[T:%.*]] = "lut.argmax"([[N]])
// CHECK-NEXT: return [[T]]
