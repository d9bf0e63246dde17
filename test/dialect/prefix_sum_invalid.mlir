// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Terms, partial sum and sum have the same outputs.

func.func @f(%t: tensor<?x4x6xi32>, %p: tensor<?x6xi32>) {
  // expected-error@+1 {{'lut.prefix_sum' op expected N of sum = 6, got 5; change the type}}
  %0 = "lut.prefix_sum"(%t, %p) : (tensor<?x4x6xi32>, tensor<?x6xi32>) -> tensor<?x5xi32>
  return
}

// -----

func.func @f(%t: tensor<?x4x6xi32>, %p: tensor<?x5xi32>) {
  // expected-error@+1 {{'lut.prefix_sum' op expected N of partial = 6, got 5; change the type}}
  %0 = "lut.prefix_sum"(%t, %p) : (tensor<?x4x6xi32>, tensor<?x5xi32>) -> tensor<?x6xi32>
  return
}
