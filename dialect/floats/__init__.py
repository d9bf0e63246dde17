"""The parts of a model on floats: what raising makes, and what quantization replaces."""
