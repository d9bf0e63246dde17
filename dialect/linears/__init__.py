"""Linear layers as table lookups: whole (`layer`), and step by step from search to requantization."""
