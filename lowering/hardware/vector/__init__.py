"""Engines around LutLinear: norm, residual, store, swiglu, heads, embed, pick, load, save."""
