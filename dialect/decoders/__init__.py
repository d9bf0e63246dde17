"""What stands between linears, on integers: norms, residuals, SwiGLU, RoPE, KV caches, attention, the pick."""
