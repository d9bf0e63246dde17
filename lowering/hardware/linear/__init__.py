"""Units of the LutLinear engine: search, lookups, sums, requantization."""
