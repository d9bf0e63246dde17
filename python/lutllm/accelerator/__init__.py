"""Compiled programs in memory: hardware with its image, linears alone, activations."""
