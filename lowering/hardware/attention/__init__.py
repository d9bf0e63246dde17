"""The attention engine: scores, weights, sums over the KV cache."""
