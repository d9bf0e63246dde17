"""What any unit may use: the builder over CIRCT, FIFOs and memories, AXI masters, arithmetic, functions from tables."""
