"""Rows of a stream held for use: a ring of words, filled in order; a row is read any number of times, then freed."""

from __future__ import annotations

from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import ram
from lutllm.lowering.hardware.lib.signal import Signal, const, mux
from lutllm.lowering.hardware.lib.state import credit
from lutllm.numerics import bits_for


def row_depth(beats: int, ahead: int) -> int:
    """Words of a buffer: addresses wrap around."""
    return 1 << bits_for(2 * beats + ahead + 1)


def row_buffer(design: Design, width: int, beats: int, ahead: int) -> str:
    """A buffer of rows of up to `beats` words of `width` bits: two of them, and `ahead` words more.

    In: a stream `in`, the `beats` of a row (steady), `taken` when a user has counted on a row for the last time, the
    word `beat` of the oldest row to read, `freed` when that row was read for the last time. Out: `there`, a row that
    was not taken is whole; `data`, at once. A user that frees a row `ahead` cycles after it took it does not wait for
    room.
    """
    depth, beat_bits = row_depth(beats, ahead), bits_for(beats)
    depth_bits = bits_for(depth)

    def body(m: Module) -> dict[str, Signal]:
        used = m.state(depth_bits + 1, "used", reset=0)
        in_ready = used.signal.ne(depth)
        push = (m["in_valid"] & in_ready).named("push")
        freed = mux(m["freed"], m["beats"], const(0, m["beats"].width)).zext(used.signal.width)
        used.set(used.signal + push.zext(used.signal.width) - freed)
        word = m.state(m["beats"].width, "fill_beat", reset=0)
        complete = word.signal.eq(m["beats"] - 1)
        word.set(mux(complete, const(0, word.signal.width), word.signal + 1), push)
        head, tail = m.state(depth_bits, "head", reset=0), m.state(depth_bits, "tail", reset=0)
        head.set(head.signal + 1, push)
        tail.set(tail.signal + freed[0:depth_bits])
        there = credit(m, "rows", 1 << depth_bits, give=push & complete, take=m["taken"])
        data = m.output_of(
            ram(design, depth, width, read_latency=0),
            "words",
            we=push,
            wa=head.signal,
            wd=m["in_data"],
            ra=tail.signal + m["beat"].zext(depth_bits),
        )
        return dict(in_ready=in_ready, there=there, data=data)

    inputs = {"in_valid": 1, "in_data": width, "beats": bits_for(beats + 1), "taken": 1, "beat": beat_bits, "freed": 1}
    outputs = {"in_ready": 1, "there": 1, "data": width}
    return design.module(f"row_buffer_{depth}x{width}_{beats}", inputs, outputs, body)
