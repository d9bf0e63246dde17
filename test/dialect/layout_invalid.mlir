// RUN: lutllm-opt %s --split-input-file --verify-diagnostics
// Sizes of a layout fit each other.

// expected-error@+1 {{'lut.layout' op expected channels in 1..2147483647, got 0; change it}}
"lut.layout"() {sym_name = "a", channels = 0, unit = 12, unit_size = 16, interleaved = 12, block = 24, pad = 8,
    repeat = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.layout' op expected unit in 1..48, got 49; change it}}
"lut.layout"() {sym_name = "a", channels = 48, unit = 49, unit_size = 16, interleaved = 12, block = 24, pad = 8,
    repeat = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.layout' op expected unit_size in 12..2147483647, got 11; change it}}
"lut.layout"() {sym_name = "a", channels = 48, unit = 12, unit_size = 11, interleaved = 12, block = 24, pad = 8,
    repeat = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.layout' op expected block in 12..48, got 11; change it}}
"lut.layout"() {sym_name = "a", channels = 48, unit = 12, unit_size = 16, interleaved = 12, block = 11, pad = 8,
    repeat = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.layout' op expected pad in 1..2147483647, got 0; change it}}
"lut.layout"() {sym_name = "a", channels = 48, unit = 12, unit_size = 16, interleaved = 12, block = 24, pad = 0,
    repeat = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.layout' op expected interleaved in 0..12, got 13; change it}}
"lut.layout"() {sym_name = "a", channels = 48, unit = 12, unit_size = 16, interleaved = 13, block = 24, pad = 8,
    repeat = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.layout' op expected repeat in 0..1, got 2; change it}}
"lut.layout"() {sym_name = "a", channels = 48, unit = 12, unit_size = 16, interleaved = 12, block = 24, pad = 8,
    repeat = 2} : () -> ()

// -----

// expected-error@+1 {{'lut.layout' op expected unit to divide channels, 48, got 13; change either}}
"lut.layout"() {sym_name = "a", channels = 48, unit = 13, unit_size = 16, interleaved = 12, block = 24, pad = 8,
    repeat = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.layout' op expected block to be a multiple of unit, 12, got 30; change either}}
"lut.layout"() {sym_name = "a", channels = 48, unit = 12, unit_size = 16, interleaved = 12, block = 30, pad = 8,
    repeat = 0} : () -> ()

// -----

// expected-error@+1 {{'lut.layout' op expected an even number of interleaved channels, got 3; change it}}
"lut.layout"() {sym_name = "a", channels = 48, unit = 3, unit_size = 16, interleaved = 3, block = 24, pad = 8,
    repeat = 0} : () -> ()

// -----

func.func @f() {
  // expected-error@+1 {{'lut.layout' op expected a 'builtin.module' around it, got 'func.func'; move it to the module}}
  "lut.layout"() {sym_name = "a", channels = 48, unit = 12, unit_size = 16, interleaved = 12, block = 24, pad = 8,
      repeat = 0} : () -> ()
  return
}
