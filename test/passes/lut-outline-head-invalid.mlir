// RUN: lutllm-opt %s --lut-outline-head --split-input-file --verify-diagnostics
// Functions share one head, which picks one token.

#r = #lut.fixed<26, -16>
func.func @prefill(%x: tensor<?x8xi32, #r>) -> tensor<1x8xi32, #r> {
  // expected-error@+1 {{'lut.last_token' op expected one lut.argmax after it, got 0; hardware picks the next token}}
  %0 = "lut.last_token"(%x) : (tensor<?x8xi32, #r>) -> tensor<1x8xi32, #r>
  return %0 : tensor<1x8xi32, #r>
}

// -----

#r = #lut.fixed<26, -16>
#n = #lut.fixed<28, -20>
ml_program.global private @norm.gain(#ml_program.extern : tensor<8xi32>) : tensor<8xi32>
func.func @prefill(%x: tensor<?x8xi32, #r>) -> tensor<1xi32> {
  %0 = "lut.last_token"(%x) : (tensor<?x8xi32, #r>) -> tensor<1x8xi32, #r>
  %1 = "lut.argmax"(%0) : (tensor<1x8xi32, #r>) -> tensor<1xi32>
  return %1 : tensor<1xi32>
}
// expected-error@+1 {{'func.func' op expected the head of @prefill, got another; they share one}}
func.func @decode(%x: tensor<1x8xi32, #r>) -> tensor<1xi32> {
  %0 = "lut.last_token"(%x) : (tensor<1x8xi32, #r>) -> tensor<1x8xi32, #r>
  %1 = "lut.rms_norm"(%0) {gain = @norm.gain, groups = 1, epsilon = 40, shift = 12} : (tensor<1x8xi32, #r>) -> tensor<1x8xi32, #n>
  %2 = "lut.argmax"(%1) : (tensor<1x8xi32, #n>) -> tensor<1xi32>
  return %2 : tensor<1xi32>
}

// -----

#r = #lut.fixed<26, -16>
#s = #lut.fixed<26, -15>
func.func @prefill(%x: tensor<?x8xi32, #r>) -> tensor<1xi32> {
  %0 = "lut.last_token"(%x) : (tensor<?x8xi32, #r>) -> tensor<1x8xi32, #r>
  %1 = "lut.argmax"(%0) : (tensor<1x8xi32, #r>) -> tensor<1xi32>
  return %1 : tensor<1xi32>
}
// expected-error@+1 {{'func.func' op expected the head of @prefill, got another; they share one}}
func.func @decode(%x: tensor<1x8xi32, #s>) -> tensor<1xi32> {
  %0 = "lut.last_token"(%x) : (tensor<1x8xi32, #s>) -> tensor<1x8xi32, #s>
  %1 = "lut.argmax"(%0) : (tensor<1x8xi32, #s>) -> tensor<1xi32>
  return %1 : tensor<1xi32>
}

// -----

#r = #lut.fixed<26, -16>
func.func @prefill(%x: tensor<?x8xi32, #r>, %y: tensor<1x8xi32, #r>) -> tensor<1xi32> {
  %0 = "lut.last_token"(%x) : (tensor<?x8xi32, #r>) -> tensor<1x8xi32, #r>
  // expected-error@+1 {{'lut.add' op expected operands that the last token of the residual stream decides, got others; hardware's head has nothing else}}
  %1 = "lut.add"(%0, %y) : (tensor<1x8xi32, #r>, tensor<1x8xi32, #r>) -> tensor<1x8xi32, #r>
  %2 = "lut.argmax"(%1) : (tensor<1x8xi32, #r>) -> tensor<1xi32>
  return %2 : tensor<1xi32>
}
