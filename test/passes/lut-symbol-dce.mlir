// A global stays while an attribute or a type names it, however deep; a public one always.
// RUN: lutllm-opt %s --lut-symbol-dce | FileCheck %s
// RUN: lutllm-opt %s --pass-pipeline="builtin.module(lut-symbol-dce,lut-symbol-dce)" | FileCheck %s

// CHECK-NOT: @unused
// CHECK: ml_program.global private @only_in_a_value_type
// CHECK-NOT: @read_by_dead_ops
// CHECK: ml_program.global private @in_an_attribute
// CHECK: ml_program.global private @"quoted \22name\22"
// CHECK: ml_program.global public @public
// CHECK-NOT: @named_by_an_unused
// CHECK-LABEL: func.func @f
// CHECK-NEXT: tensor.empty
// CHECK-NEXT: builtin.unrealized_conversion_cast
// CHECK-NEXT: return
ml_program.global private @unused(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
ml_program.global private @only_in_a_value_type(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
ml_program.global private @read_by_dead_ops(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
ml_program.global private @in_an_attribute(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
ml_program.global private @"quoted \22name\22"(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
ml_program.global public @public(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
ml_program.global private @named_by_an_unused(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
ml_program.global private @unused_too(#ml_program.extern : tensor<4xi16, #lut.fixed<16, @named_by_an_unused>>)
  : tensor<4xi16, #lut.fixed<16, @named_by_an_unused>>

func.func @f(%a: tensor<1x4xf32>) attributes {note.uses = [{deep = @in_an_attribute}, @"quoted \22name\22"]} {
  %0 = "lut.quantize"(%a)
    : (tensor<1x4xf32>) -> tensor<1x4xi16, #lut.fixed<16, @read_by_dead_ops>>
  %2 = tensor.empty() : tensor<1x4xi16, #lut.fixed<16, @only_in_a_value_type>>
  %3 = builtin.unrealized_conversion_cast %2 : tensor<1x4xi16, #lut.fixed<16, @only_in_a_value_type>> to i1
  return
}
