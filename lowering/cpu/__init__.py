"""Kernels of the CPU path: one file for each family of ops; sizes in, MLIR text and the layout of parameters out."""
