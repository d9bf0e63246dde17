// The input is a file, `-`, or stdin when nothing is given; an empty one is an empty module.
// RUN: lutllm-opt %s | FileCheck %s
// RUN: lutllm-opt - < %s | FileCheck %s
// RUN: lutllm-opt < %s | FileCheck %s
// RUN: lutllm-opt < /dev/null | FileCheck %s --check-prefix=EMPTY
// RUN: not lutllm-opt %t.none 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not lutllm-opt / 2>&1 | FileCheck %s --check-prefix=DIRECTORY

// CHECK: func.func @f()
// EMPTY: module {
// NONE: error: cannot read '{{.*}}.none': No such file or directory
// DIRECTORY: error: cannot read '/': Is a directory
func.func @f() {
  return
}
