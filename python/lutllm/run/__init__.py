"""Tokens and texts through any engine: sessions, generation, perplexity, speed."""
