"""What all kernels have in common: their arguments."""

from lutllm.lowering.cpu.code import I64, PTR, Code

TAIL = (("scratch", PTR), ("tokens", I64), ("thread", I64), ("threads", I64))


def kernel(name: str, *pointers: str) -> Code:
    """A kernel: pointers to operands, parameters and results, then this thread's scratch memory, how many tokens there
    are, and which of how many threads this is. No two pointers that are written through share memory with another."""
    return Code(name, [*((p, PTR) for p in pointers), *TAIL])
