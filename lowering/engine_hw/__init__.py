"""The LutLinear engine in hw/comb/seq: one file a unit, `core.py` puts them together. Reads an `EngineConfig` only."""
