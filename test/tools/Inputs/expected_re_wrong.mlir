// Comments that are wrong, or that nothing fulfils, are errors at the comment.

func.func @other() -> i32 {
  // CHECK: expected_re_wrong.mlir:[[# @LINE + 2]]:3: error: unexpected error: 'func.return' op has 0 operands
  // CHECK: expected_re_wrong.mlir:[[# @LINE + 1]]:13: error: expected error "has {{.*}} operands" was not produced
  return // expected-error-re {{has {{[1-9]}} operands}}
}

// -----

// CHECK: expected_re_wrong.mlir:[[# @LINE + 1]]:4: error: expected a '}}' that ends the regular expression, got none
// expected-error-re {{a {{b}}

// -----

// CHECK: expected_re_wrong.mlir:[[# @LINE + 1]]:4: error: expected a regular expression, got '('
// expected-error-re {{a {{(}} b}}
