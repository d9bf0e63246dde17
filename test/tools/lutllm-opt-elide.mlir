// Values above the limit are left out, in the result and in dumps; small ones stay.
// RUN: lutllm-opt %s --allow-unregistered-dialect --mlir-elide-elementsattrs-if-larger=3 | FileCheck %s --check-prefix=ELEMENTS
// RUN: lutllm-opt %s --allow-unregistered-dialect --mlir-elide-resource-strings-if-larger=10 | FileCheck %s --check-prefix=STRINGS
// RUN: lutllm-opt %s --allow-unregistered-dialect --mlir-elide-elementsattrs-if-larger=4 --mlir-elide-resource-strings-if-larger=1000 | FileCheck %s
// RUN: lutllm-opt %s --allow-unregistered-dialect --mlir-elide-elementsattrs-if-larger=3 --cse --mlir-print-ir-after-all -o /dev/null 2>&1 | FileCheck %s --check-prefix=ELEMENTS

// CHECK: {a = dense<[1, 2, 3, 4]> : tensor<4xi32>, b = dense_resource<blob> : tensor<3xi64>}
// CHECK: blob: "0x08
// ELEMENTS: {a = dense_resource<__elided__> : tensor<4xi32>, b = dense_resource<blob> : tensor<3xi64>}
// STRINGS: {a = dense<[1, 2, 3, 4]> : tensor<4xi32>, b = dense_resource<blob> : tensor<3xi64>}
// STRINGS-NOT: blob
"nobody.knows"() {a = dense<[1, 2, 3, 4]> : tensor<4xi32>, b = dense_resource<blob> : tensor<3xi64>} : () -> ()

{-#
  dialect_resources: {
    builtin: {
      blob: "0x08000000010000000000000002000000000000000300000000000000"
    }
  }
#-}
