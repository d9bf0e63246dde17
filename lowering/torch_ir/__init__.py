"""Torch-level IR, read: its linears (`linears`), the `decoder` in it (by `reader`, `patterns`, `axes`)."""
