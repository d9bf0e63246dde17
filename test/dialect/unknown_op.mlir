// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// An op the dialect does not have.

// expected-error@+1 {{unregistered operation 'lut.nope' found in dialect ('lut') that does not allow unknown operations}}
"lut.nope"() : () -> ()
