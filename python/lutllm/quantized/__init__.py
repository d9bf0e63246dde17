"""Quantized models that exist: found by name, packaged, checked."""

CONTEXT = 2048  # tokens of a sequence, where nobody says and a model has so many positions
