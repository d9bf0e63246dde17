// Bytecode goes out and comes back with lut attributes whole; damaged bytecode is an error message.
// RUN: lutllm-opt %s --emit-bytecode -o %t.bc
// RUN: lutllm-opt %t.bc | FileCheck %s
// RUN: lutllm-opt < %t.bc --emit-bytecode | lutllm-opt | FileCheck %s
// RUN: head -c 100 %t.bc | not lutllm-opt 2>&1 | FileCheck %s --check-prefix=CUT
// RUN: not lutllm-opt %s --split-input-file --emit-bytecode 2>&1 | FileCheck %s --check-prefix=SPLIT

// CHECK: lut.store = #lut.store<"p.safetensors", "{{0+}}">
// CHECK: ml_program.global private @x.exponents
// CUT: <stdin>: error:
// SPLIT: error: expected one module for --emit-bytecode, got several
module attributes {lut.store = #lut.store<"p.safetensors", "0000000000000000000000000000000000000000000000000000000000000000">} {
  ml_program.global private @x.exponents(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
}
// -----
