// RUN: lutllm-opt %s --lut-extract-linears --verify-diagnostics
// There must be something to extract.

// expected-error@+1 {{'builtin.module' op expected lut.linear ops, got none; run torch-to-lut first}}
module {}
