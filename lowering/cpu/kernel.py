"""What all kernels have in common: their arguments, and how threads share their work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lutllm.lowering.cpu.code import I64, PTR, Code, Value

TAIL = (("scratch", PTR), ("tokens", I64), ("thread", I64), ("threads", I64))


def kernel(name: str, *pointers: str, numbers: Sequence[str] = ()) -> Code:
    """A kernel: pointers to operands, parameters and results; numbers that differ from layer to layer, so that layers
    of one shape share machine code; this thread's scratch memory, how many tokens there are, and which of how many
    threads this is. What one pointer writes no other reads."""
    return Code(name, [*((p, PTR) for p in pointers), *((n, I64) for n in numbers), *TAIL])


def share(code: Code, total: Value | int) -> tuple[Value, Value]:
    """The range of `total` units of work that is this thread's; every kernel has `thread` and `threads`."""
    thread, threads = code.arguments["thread"], code.arguments["threads"]
    units = code.constant(total, I64) if isinstance(total, int) else total
    return thread * units // threads, (thread + 1) * units // threads


@contextmanager
def rows_of(code: Code, rows: Value | int, width: int) -> Iterator[tuple[Value, Value, Value]]:
    """Loop over the rows this thread has a part in: (row, first and last + 1 channel of the part)."""
    start, stop = share(code, rows * width)
    with code.loop(start // width, (stop + (width - 1)) // width) as row:
        begin = row.index * width
        yield row.index, (start - begin).maximum(0), (stop - begin).minimum(width)
