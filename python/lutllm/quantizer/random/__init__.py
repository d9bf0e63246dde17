"""Models nobody trained, for tests and benches: float ones, quantized ones, linears alone."""
