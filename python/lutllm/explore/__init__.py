"""A search for good accelerators of a model: a target in, configurations of it with their estimates out."""
