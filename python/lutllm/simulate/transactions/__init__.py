"""Tasks of a scheduled module, one after the other, on the bytes that hardware would hold."""
