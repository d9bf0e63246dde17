// A wrong command line is exit code 2 (`not` alone would also take 1).
// RUN: %python %S/Inputs/exit_code.py 2 lutllm-opt --no-such-pass 2>&1 | FileCheck %s --check-prefix=FLAG
// RUN: %python %S/Inputs/exit_code.py 2 lutllm-opt --lut-decompose=row-source=a 2>&1 | FileCheck %s --check-prefix=VALUE
// RUN: %python %S/Inputs/exit_code.py 2 lutllm-opt --cse --pass-pipeline="builtin.module(cse)" 2>&1 | FileCheck %s --check-prefix=BOTH
// RUN: %python %S/Inputs/exit_code.py 2 lutllm-opt --verify-each=maybe 2>&1 | FileCheck %s --check-prefix=EACH
// RUN: %python %S/Inputs/exit_code.py 2 lutllm-opt a b 2>&1 | FileCheck %s --check-prefix=TWO
// RUN: %python %S/Inputs/exit_code.py 1 lutllm-opt --pass-pipeline="builtin.module(no-such-pass)"
// RUN: %python %S/Inputs/exit_code.py 0 lutllm-opt %s -o /dev/null
// RUN: %python %S/Inputs/exit_code.py 0 lutllm-opt --help | FileCheck %s --check-prefix=HELP

// FLAG: lutllm-opt: error: --no-such-pass: expected a registered pass, got 'no-such-pass'; see lutllm-opt --list-passes
// VALUE: lutllm-opt: error: --lut-decompose: pass 'lut-decompose': expected row-source to be one of
// BOTH: lutllm-opt: error: expected either --pass-pipeline or pass flags, got both (--cse)
// EACH: lutllm-opt: error: argument --verify-each: expected 0 or 1, got 'maybe'
// TWO: lutllm-opt: error: unrecognized arguments: b
// HELP: usage: lutllm-opt
// HELP: --lut-decompose {{ *}}Split every lut.linear
// HELP-NEXT: row-source=str
