// A wrong command line is exit code 2 (`not` alone would also take 1).
// RUN: %python %S/Inputs/exit_code.py 2 lutllm-opt --no-such-pass 2>&1 | FileCheck %s --check-prefix=FLAG
// RUN: %python %S/Inputs/exit_code.py 2 lutllm-opt --lut-decompose=row-source=a 2>&1 | FileCheck %s --check-prefix=VALUE
// RUN: %python %S/Inputs/exit_code.py 2 lutllm-opt --cse --pass-pipeline="builtin.module(cse)" 2>&1 | FileCheck %s --check-prefix=BOTH
// RUN: %python %S/Inputs/exit_code.py 2 lutllm-opt --verify-each=maybe 2>&1 | FileCheck %s --check-prefix=EACH
// RUN: %python %S/Inputs/exit_code.py 2 lutllm-opt a b 2>&1 | FileCheck %s --check-prefix=TWO
// RUN: %python %S/Inputs/exit_code.py 2 lutllm-opt --verify-diagnostics=some 2>&1 | FileCheck %s --check-prefix=EXPECT
// RUN: %python %S/Inputs/exit_code.py 2 lutllm-opt --mlir-elide-elementsattrs-if-larger=-1 2>&1 | FileCheck %s --check-prefix=ELIDE
// RUN: %python %S/Inputs/exit_code.py 2 lutllm-opt --mlir-print-ir-after-change 2>&1 | FileCheck %s --check-prefix=CHANGE
// RUN: %python %S/Inputs/exit_code.py 2 lutllm-opt --mlir-print-ir-tree-dir=d 2>&1 | FileCheck %s --check-prefix=TREE
// RUN: %python %S/Inputs/exit_code.py 2 lutllm-opt --mlir-disable-threading=0 2>&1 | FileCheck %s --check-prefix=THREADS
// RUN: %python %S/Inputs/exit_code.py 2 lutllm-opt --run-reproducer --cse 2>&1 | FileCheck %s --check-prefix=REPRODUCE
// RUN: %python %S/Inputs/exit_code.py 2 lutllm-opt --run-reproducer --split-input-file 2>&1 | FileCheck %s --check-prefix=PARTS
// RUN: %python %S/Inputs/exit_code.py 1 lutllm-opt --pass-pipeline="builtin.module(no-such-pass)"
// RUN: %python %S/Inputs/exit_code.py 0 lutllm-opt %s -o /dev/null
// RUN: %python %S/Inputs/exit_code.py 0 lutllm-opt --help | FileCheck %s --check-prefix=HELP

// FLAG: lutllm-opt: error: --no-such-pass: expected a registered pass, got 'no-such-pass'; see lutllm-opt --list-passes
// VALUE: lutllm-opt: error: --lut-decompose: pass 'lut-decompose': expected row-source to be one of
// BOTH: lutllm-opt: error: expected either --pass-pipeline or pass flags, got both (--cse)
// EACH: lutllm-opt: error: argument --verify-each: expected 0 or 1, got 'maybe'
// TWO: lutllm-opt: error: unrecognized arguments: b
// EXPECT: lutllm-opt: error: argument --verify-diagnostics: invalid choice: 'some' (choose from 'all', 'only-expected')
// ELIDE: lutllm-opt: error: argument --mlir-elide-elementsattrs-if-larger: expected a number from 0 on, got '-1'
// CHANGE: lutllm-opt: error: --mlir-print-ir-after-change needs --mlir-print-ir-after-all or --mlir-print-ir-after=PASS
// TREE: lutllm-opt: error: --mlir-print-ir-tree-dir needs --mlir-print-ir-after-all or another that prints IR
// THREADS: lutllm-opt: error: argument --mlir-disable-threading: ignored explicit argument '0'
// REPRODUCE: lutllm-opt: error: expected either --run-reproducer or pass flags, got both (--cse)
// PARTS: lutllm-opt: error: expected either --run-reproducer or --split-input-file, got both
// HELP: usage: lutllm-opt
// HELP: --lut-decompose {{ *}}Split every lut.linear
// HELP-NEXT: row-source=str
