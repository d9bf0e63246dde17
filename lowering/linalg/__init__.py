"""lut ops to linalg on integers, for any MLIR compiler; what is not lut stays."""
