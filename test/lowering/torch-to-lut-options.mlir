// What the option may name: the error says what is missing.
// RUN: not lutllm-opt %s --torch-to-lut 2>&1 | FileCheck %s
// RUN: not lutllm-opt %s --torch-to-lut=quantization=%S 2>&1 | FileCheck %s --check-prefix=FILE
// RUN: echo '{"format": 1}' > %t.json
// RUN: not lutllm-opt %s --torch-to-lut=quantization=%t.json 2>&1 | FileCheck %s --check-prefix=KEYS
// RUN: echo '{"sha256": "", "linears": {"a": {}}}' > %t.json
// RUN: not lutllm-opt %s --torch-to-lut=quantization=%t.json 2>&1 | FileCheck %s --check-prefix=ENTRY

// CHECK: error: torch-to-lut: expected quantization=DIRECTORY, got none; name the quantizer's output
// FILE: error: {{.*}}quantization.json': expected a readable file, got No such file or directory
// KEYS: error: {{.*}}: expected 'linears' and 'sha256', got format; quantize again
// ENTRY: error: 'a': expected a description with scheme, input_name, shift, out_exponent and shapes, got a problem with 'shapes'; quantize again
func.func @main() {
  return
}
