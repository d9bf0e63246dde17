"""The accelerator around the LutLinear engine in hw/comb/seq: one file an engine, `top.py` puts them together."""
