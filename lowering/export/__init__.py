"""Out of the compiler: SystemVerilog, the arc JIT, images of memory, a testbench."""
