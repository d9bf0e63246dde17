// Even with --allow-unregistered-dialect, a lut op that does not exist is an error.
// RUN: lutllm-opt %s --verify-diagnostics
// RUN: lutllm-opt %s --verify-diagnostics --allow-unregistered-dialect

// expected-error@+1 {{unregistered operation 'lut.nope' found in dialect ('lut') that does not allow unknown operations}}
"lut.nope"() : () -> ()
