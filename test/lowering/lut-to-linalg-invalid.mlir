// RUN: lutllm-opt %s --lut-to-linalg --split-input-file --verify-diagnostics
// What has no form in linalg is named at its line, before anything changes.

func.func @decoder(%x: tensor<1x6xi32, #lut.fixed<24, -6>>) -> tensor<1xi32> {
  // expected-error@+1 {{'lut.argmax' op expected lut.linear or one of lut.quantize, lut.dequantize, lut.centroid_search, lut.stored_table, lut.built_table, lut.built_row, lut.exact_row, lut.table_lookup, lut.prefix_sum, lut.requantize; leave others in torch, as torch-to-lut does}}
  %0 = "lut.argmax"(%x) : (tensor<1x6xi32, #lut.fixed<24, -6>>) -> tensor<1xi32>
  return %0 : tensor<1xi32>
}

// -----

func.func private @other(tensor<1x6xi32, #lut.fixed<24, -6>>)

func.func @call(%x: tensor<1x6xi32, #lut.fixed<24, -6>>) {
  // expected-error@+1 {{'func.call' op expected tensors with #lut.fixed on lut ops, arguments and returns alone; dequantize}}
  call @other(%x) : (tensor<1x6xi32, #lut.fixed<24, -6>>) -> ()
  return
}
