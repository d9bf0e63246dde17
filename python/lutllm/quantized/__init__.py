"""Quantized models that exist: found by name, packaged, checked."""
