"""What all kernels have in common: their arguments."""

from collections.abc import Sequence

from lutllm.lowering.cpu.code import I64, PTR, Code

TAIL = (("scratch", PTR), ("tokens", I64), ("thread", I64), ("threads", I64))


def kernel(name: str, *pointers: str, numbers: Sequence[str] = ()) -> Code:
    """A kernel: pointers to operands, parameters and results; numbers that differ from layer to layer, so that layers
    of one shape share machine code; this thread's scratch memory, how many tokens there are, and which of how many
    threads this is. What one pointer writes no other reads."""
    return Code(name, [*((p, PTR) for p in pointers), *((n, I64) for n in numbers), *TAIL])
