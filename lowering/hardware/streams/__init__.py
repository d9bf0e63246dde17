"""FIFOs between units: what each may hold, and depths that keep every engine running."""
