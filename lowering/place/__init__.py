"""steps -> placed: clusters of ops on engines (`lut-place`), layouts (`lut-layout`), buffers and memory map
(`lut-allocate`); `machine` reads and writes what hardware is built of."""
