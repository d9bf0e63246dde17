"""One linear: recorded inputs and float weights in, integer codebooks, codes and multipliers out."""
