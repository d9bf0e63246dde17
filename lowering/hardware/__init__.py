"""Hardware as CIRCT ops: a machine in, a hw module out. `top` joins the engines; each folder holds units."""
