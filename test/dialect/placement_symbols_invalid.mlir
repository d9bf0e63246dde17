// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// What clusters, rounds, tasks and arguments name must be there, and be what they need.

#x = #lut.fixed<16, @q.input.exponents>
ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
func.func @prefill(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.cluster' op expected a 'lut.layout' named @a for 'layout', got none; add it to the module}}
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"], layout = @a} : () -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
"lut.region"() {sym_name = "a", kind = "x", address = 0, bytes = 64} : () -> ()
func.func @prefill(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.cluster' op expected a 'lut.layout' named @a for 'layout', got a 'lut.region'; name the right op}}
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"], layout = @a} : () -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
func.func @prefill(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.cluster' op expected a 'lut.buffer' named @a for 'buffer', got none; add it to the module}}
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"], buffer = @a} : () -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
func.func @prefill(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.cluster' op expected a 'lut.region' named @a for 'parameters', got none; add it to the module}}
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"], parameters = @a} : () -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
"lut.region"() {sym_name = "a", kind = "x", address = 0, bytes = 64} : () -> ()
func.func @prefill(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.cluster' op expected region @a for 'parameters' to be of kind 'p', got 'x'; name another region}}
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"], parameters = @a} : () -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
"lut.region"() {sym_name = "a", kind = "w", address = 0, bytes = 64} : () -> ()
func.func @prefill(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.cluster' op expected region @a for 'region' to be of kind 'e' or 'x' or 'y' or 'p', got 'w'; name another region}}
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"], region = @a} : () -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
ml_program.global private @q.input.exponents(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
func.func @prefill(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.cluster' op expected a 'lut.round' named @q.0 for 'rounds', got none; add it to the module}}
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"], rounds = [@q.0]} : () -> tensor<?x8xi16, #x>
  return
}

// -----

func.func @prefill(%x: tensor<1xi32>) {
  // expected-error@+1 {{'lut.task' op expected a 'lut.region' named @rope.p for 'parameters', got none; add it to the module}}
  %0 = "lut.task"(%x) {engine = "heads", parameters = @rope.p} : (tensor<1xi32>) -> !lut.token
  return
}

// -----

"lut.region"() {sym_name = "q.c", kind = "c", address = 0, bytes = 64} : () -> ()
"lut.region"() {sym_name = "q.q", kind = "q", address = 64, bytes = 64} : () -> ()
"lut.region"() {sym_name = "q.w", kind = "w", address = 128, bytes = 64} : () -> ()
// expected-error@+1 {{'lut.round' op expected a 'lut.region' named @c for 'c', got none; add it to the module}}
"lut.round"() {sym_name = "q.0", first = 0, outputs = 8, c = @c, q = @q.q, w = [@q.w]} : () -> ()

// -----

"lut.region"() {sym_name = "q.c", kind = "c", address = 0, bytes = 64} : () -> ()
"lut.region"() {sym_name = "q.q", kind = "q", address = 64, bytes = 64} : () -> ()
"lut.region"() {sym_name = "q.w", kind = "w", address = 128, bytes = 64} : () -> ()
// expected-error@+1 {{'lut.round' op expected region @q.c for 'q' to be of kind 'q', got 'c'; name another region}}
"lut.round"() {sym_name = "q.0", first = 0, outputs = 8, c = @q.c, q = @q.c, w = [@q.w]} : () -> ()

// -----

"lut.region"() {sym_name = "q.c", kind = "c", address = 0, bytes = 64} : () -> ()
"lut.region"() {sym_name = "q.q", kind = "q", address = 64, bytes = 64} : () -> ()
"lut.region"() {sym_name = "q.w", kind = "w", address = 128, bytes = 64} : () -> ()
// expected-error@+1 {{'lut.round' op expected region @q.q for 'w' to be of kind 'w', got 'q'; name another region}}
"lut.round"() {sym_name = "q.0", first = 0, outputs = 8, c = @q.c, q = @q.q, w = [@q.w, @q.q]} : () -> ()

// -----

// expected-error@+1 {{'func.func' op expected a 'lut.region' named @a for 'lut.region', got none; add it to the module}}
func.func private @prefill(tensor<16x4xi8> {lut.region = @a})

// -----

// expected-error@+1 {{'func.func' op expected attribute 'lut.region' to be a symbol @name, got "a"; change it}}
func.func private @prefill(tensor<16x4xi8> {lut.region = "a"})

// -----

"lut.region"() {sym_name = "a", kind = "p", address = 0, bytes = 64} : () -> ()
// expected-error@+1 {{'func.func' op expected region @a for 'lut.region' to be of kind 'k' or 'v', got 'p'; name another region}}
func.func private @prefill(tensor<16x4xi8> {lut.region = @a})
