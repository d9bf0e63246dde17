// A wrong pipeline is one line saying what was expected and what came, and exit code 1, before the input is read.
// RUN: not lutllm-opt none --pass-pipeline="builtin.module(lut-decompos)" 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not lutllm-opt none --pass-pipeline="cse" 2>&1 | FileCheck %s --check-prefix=ANCHOR
// RUN: not lutllm-opt none --pass-pipeline="func.func(cse)" 2>&1 | FileCheck %s --check-prefix=ANCHOR
// RUN: not lutllm-opt none --pass-pipeline="builtin.module(cse" 2>&1 | FileCheck %s --check-prefix=OPEN
// RUN: not lutllm-opt none --pass-pipeline="builtin.module(cse))" 2>&1 | FileCheck %s --check-prefix=CLOSE
// RUN: not lutllm-opt none --pass-pipeline="builtin.module(cse,)" 2>&1 | FileCheck %s --check-prefix=EMPTY
// RUN: not lutllm-opt none --pass-pipeline="builtin.module(cse{a" 2>&1 | FileCheck %s --check-prefix=BRACE
// RUN: not lutllm-opt none --pass-pipeline="builtin.module(cse{a=1})" 2>&1 | FileCheck %s --check-prefix=UPSTREAM
// RUN: not lutllm-opt none --pass-pipeline="builtin.module(lut-decompose{a=1})" 2>&1 | FileCheck %s --check-prefix=OPTION
// RUN: not lutllm-opt none --pass-pipeline="builtin.module(lut-decompose{row-source=a})" 2>&1 | FileCheck %s --check-prefix=VALUE
// RUN: not lutllm-opt none --pass-pipeline="builtin.module(func.func(lut-symbol-dce))" 2>&1 | FileCheck %s --check-prefix=NEST
// RUN: not lutllm-opt none --pass-pipeline="builtin.module(torch-fuse-quantized-ops)" 2>&1 | FileCheck %s --check-prefix=TORCH
// RUN: not lutllm-opt none --pass-pipeline="builtin.module(any(lut-decompose))" 2>&1 | FileCheck %s --check-prefix=ANY

// UNKNOWN: error: expected a registered pass, got 'lut-decompos'; did you mean 'lut-decompose'?
// ANCHOR: error: expected a pipeline `builtin.module(...)`, got `{{.*}}`; wrap the passes in it
// OPEN: <pass pipeline>:1:19: error: expected ',' or ')', got the end
// CLOSE: <pass pipeline>:1:20: error: expected the end of the pipeline, got ')'
// EMPTY: <pass pipeline>:1:20: error: expected the name of a pass or of an operation to nest on, got ')'
// BRACE: <pass pipeline>:1:20: error: expected a closing } for these options, got 'a'
// UPSTREAM: error: pass 'cse' does not take the options `a=1`: no such option a
// OPTION: error: pass 'lut-decompose' has no option 'a'; its options: row-source
// VALUE: error: pass 'lut-decompose': expected row-source to be one of stored_table, built_table, built_row, exact_row, got 'a'
// NEST: error: pass 'lut-symbol-dce' runs on builtin.module, got func.func; write builtin.module(lut-symbol-dce)
// TORCH: error: pass 'torch-fuse-quantized-ops' runs on func.func, got builtin.module; write func.func(torch-fuse-quantized-ops)
// ANY: error: pass 'lut-decompose' cannot run in any(...); name an operation: func.func(...)
