"""The CPU path at run time: features of the processor, the JIT, parameters, threads."""
