"""Rows of a stream held for use: a ring of words, filled in order; a row is read any number of times, then freed."""

from __future__ import annotations

from typing import Any

from lutllm.lowering.hardware.lib.bundle import Bundle, Link
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import stored
from lutllm.lowering.hardware.lib.signal import const, mux
from lutllm.lowering.hardware.lib.state import credit, loop_nest
from lutllm.lowering.hardware.lib.stream import Stream
from lutllm.numerics import bits_for


def row_depth(beats: int, ahead: int) -> int:
    """Words of a buffer: addresses wrap around."""
    return 1 << bits_for(2 * beats + ahead + 1)


def rows_port(width: int, beats: int) -> Bundle:
    """Rows that are held: `there` where one is whole that was not taken; `data`, at once, of its word `beat`. `taken`
    when a user has counted on a row for the last time, `freed` when the oldest one was read for the last time."""
    return Bundle({"there": 1, "data": width}, {"taken": 1, "beat": bits_for(beats), "freed": 1})


def row_buffer(design: Design, width: int, beats: int, ahead: int) -> str:
    """A buffer of rows of up to `beats` words of `width` bits: two of them, and `ahead` words more. Stream `in`; the
    `beats` of a row are steady. A user that frees a row `ahead` cycles after it took it does not wait for room."""
    depth = row_depth(beats, ahead)
    depth_bits = bits_for(depth)

    def body(m: Module) -> dict[str, Any]:
        used, given = m.state(depth_bits + 1, "used", reset=0), m["in"]
        given.drive(ready=used.signal.ne(depth))
        push = given.moves.named("push")
        freed = mux(m["rows_freed"], m["beats"], const(0, m["beats"].width)).zext(used.signal.width)
        used.set(used.signal + push.zext(used.signal.width) - freed)
        _, last, _ = loop_nest(m, push, [("fill_beat", m["beats"])])
        head, tail = m.counter(depth_bits, "head", step=push), m.state(depth_bits, "tail", reset=0)
        tail.set(tail.signal + freed[0:depth_bits])
        there = credit(m, "rows", 1 << depth_bits, give=push & last["fill_beat"], take=m["rows_taken"])
        place = tail.signal + m["rows_beat"].zext(depth_bits)
        data = stored(m, "words", depth, write=(push, head, given.data), read=place)
        return dict(rows=Link(dict(there=there, data=data)))

    inputs = {"in": Stream.of(width), "beats": bits_for(beats + 1)}
    name = f"row_buffer_{depth}x{width}_{beats}"
    return design.module(name, inputs, {"rows": rows_port(width, beats)}, body)
