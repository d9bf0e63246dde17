// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// The engines of a cluster are a chain; its result is what it yields.

#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.cluster' op expected engines to be one of: norm; heads; attention; embed, residual; norm, residual; load; feed, linear, residual; feed, linear, store; feed, linear, swiglu; feed, linear, pick; feed, linear, save, got feed, norm; change them}}
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["feed", "norm"]} : () -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.cluster' op expected a region that ends in 'lut.yield', got 'nothing'; add it}}
  %0 = "lut.cluster"() ({
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
#y = #lut.fixed<16, @k.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.cluster' op expected a result of the type it yields, tensor<?x8xi16, #lut.fixed<16 : i64, @q.input.exponents>>, got tensor<?x8xi16, #lut.fixed<16 : i64, @k.input.exponents>>; change either}}
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #y>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.cluster' op expected rounds to be an array of symbols, [@name, ...], got ["q.0"]; change it}}
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"], rounds = ["q.0"]} : () -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.cluster' op expected reps in 1..255, got 0; change it}}
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"], reps = 0} : () -> tensor<?x8xi16, #x>
  return
}

// -----

#x = #lut.fixed<16, @q.input.exponents>
func.func @f(%x: tensor<?x8xi16, #x>) {
  // expected-error@+1 {{'lut.yield' op expected a 'lut.cluster' around it, got 'func.func'; move it to a cluster}}
  "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
}
