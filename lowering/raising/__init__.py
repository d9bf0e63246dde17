"""From torch ops to structural ops on float tensors (`torch-raise`), and linears alone (`lut-extract-linears`)."""
