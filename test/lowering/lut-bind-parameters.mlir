// Loads become constants from the first store that has the name; a global with a value of its own stays.
// RUN: %python -c "import sys, numpy as np; from lutllm import store; store.save(sys.argv[1], {'a': np.array([[1, -2]], np.int8), 'c': np.array([200, 3], np.uint8)}); store.save(sys.argv[2], {'a': np.zeros((1, 2), np.int8), 'b': np.float32(0.5)})" %t.1 %t.2
// RUN: lutllm-opt %s --lut-bind-parameters=store=%t.1,%t.2 --symbol-dce | FileCheck %s
// RUN: not lutllm-opt %s --lut-bind-parameters=store=%t.1 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: sed s/2xi8/3xi8/g %s > %t.mlir
// RUN: not lutllm-opt %t.mlir --lut-bind-parameters=store=%t.1,%t.2 2>&1 | FileCheck %s --check-prefix=SHAPE
// RUN: not lutllm-opt %s --lut-bind-parameters 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not lutllm-opt %S/Inputs/lut-bind-parameters/stored.mlir --lut-bind-parameters=store=%t.1 2>&1 | FileCheck %s --check-prefix=OTHER

ml_program.global private @a(#ml_program.extern : tensor<1x2xi8>) : tensor<1x2xi8>
ml_program.global private @b(#ml_program.extern : tensor<f32>) : tensor<f32>
ml_program.global private @c(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
ml_program.global private @own(dense<7> : tensor<2xi8>) : tensor<2xi8>

// CHECK-NOT: extern
// CHECK-LABEL: func.func @main
func.func @main() -> (tensor<1x2xi8>, tensor<f32>, tensor<2xi8>, tensor<2xi8>) {
  // CHECK: arith.constant dense<{{\[\[}}1, -2]]> : tensor<1x2xi8>
  %a = ml_program.global_load_const @a : tensor<1x2xi8>
  // CHECK: arith.constant dense<5.000000e-01> : tensor<f32>
  %b = ml_program.global_load_const @b : tensor<f32>
  // CHECK: arith.constant dense<[-56, 3]> : tensor<2xi8>
  %c = ml_program.global_load_const @c : tensor<2xi8>
  // CHECK: ml_program.global_load_const @own
  %own = ml_program.global_load_const @own : tensor<2xi8>
  return %a, %b, %c, %own : tensor<1x2xi8>, tensor<f32>, tensor<2xi8>, tensor<2xi8>
}

// MISSING: 21:8: error: 'ml_program.global_load_const' op expected @b in {{.*}} to be tensor<f32>, got none; write it there
// SHAPE: error: 'ml_program.global_load_const' op expected @a in {{.*}} to be tensor<1x3xi8>, got tensor<1x2xi8>; write it there
// NONE: error: lut-bind-parameters: expected store=FILE, got none; name the parameters
// OTHER: 1:1: error: 'builtin.module' op expected a store of SHA-256 00{{0*}}, as lut.store says, got others; name this model's
