"""The decoder's ops that look at one token at a time: sizes and constants in, the text of a kernel out.

Work is shared by flat element, so one token is shared as well as many. Loops are scalar: LLVM makes vectors of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from lutllm.lowering.cpu.code import Code, Value, bytes_of, rescale, round_shift, saturate
from lutllm.lowering.cpu.kernel import kernel, rows_of, share
from lutllm.lowering.cpu.layout import Packed
from lutllm.lowering.cpu.tables import rsqrt, tanh
from lutllm.lowering.cpu.tables import share as let_through


def channel_shifts(symbol: str, exponent: int, channels: int) -> Packed:
    """`exponent - exponents` of each channel, int16."""
    return Packed((symbol,), 2 * channels, lambda e: np.repeat(exponent - e.astype(np.int16), 2).astype(np.int16))


@contextmanager
def elements(code: Code, rows: Value, width: int) -> Iterator[tuple[Value, Value]]:
    """Loop over this thread's elements: (element, channel)."""
    with rows_of(code, rows, width) as (row, first, last), code.loop(first, last) as channel:
        yield row * width + channel.index, channel.index


def embedding(name: str, channels: int, bits: int, offset: int | None = None) -> str:
    """With an offset `ids` are positions."""
    code = kernel(name, "ids", "rows", "multiplier", "y", numbers=["shift"])
    a = code.arguments
    with rows_of(code, a["tokens"], channels) as (token, first, last):
        id_ = code.load(a["ids"], token * 4, "i32").to("i64") + (offset or 0)
        multiplier = code.load(a["multiplier"], id_ * 4, "i32").to("i64")
        row, y = code.at(a["rows"], id_ * channels), code.at(a["y"], token * (4 * channels))
        with code.loop(first, last) as k:
            value = round_shift(code.load(row, k.index, "i8").to("i64") * multiplier, a["shift"])
            code.store(saturate(value, bits).to("i32"), y, k.index * 4)
    return code.text()


def rms_norm(name: str, channels: int, groups: int, bits: int, centered: bool, biased: bool) -> str:
    """Every thread that has a part of a group adds up the whole group."""
    code = kernel(name, "x", "gain", *(["bias"] if biased else []), "table", "y", numbers=["epsilon", "shift"])
    a = code.arguments
    with rows_of(code, a["tokens"] * groups, channels) as (row, first, last):
        x, y = (code.at(a[n], row * (4 * channels)) for n in ("x", "y"))
        mean = _mean(code, x, channels) if centered else code.constant(0, "i64")
        with code.loop(0, channels, code.constant(0, "i64")) as k:
            value = code.load(x, k.index * 4, "i32").to("i64") - mean
            k.next(k.carried[0] + value * value)
        r, h = rsqrt((k.results[0] + a["epsilon"]).maximum(1), a["table"])
        left, right = (-9 - h).maximum(0), (h + 9).maximum(0)
        half = (code.constant(1, "i64") << right).shift_right_logical(1)
        with code.loop(first, last) as k:
            value = (code.load(x, k.index * 4, "i32").to("i64") - mean) * r
            value = ((value << left) + half) >> right
            value = round_shift(value * code.load(a["gain"], k.index * 4, "i32").to("i64"), a["shift"])
            if biased:
                value = value + code.load(a["bias"], k.index * 4, "i32").to("i64")
            code.store(saturate(value, bits).to("i32"), y, k.index * 4)
    return code.text()


def _mean(code: Code, x: Value, channels: int) -> Value:
    """The mean of a group, halves rounded up. Division is of numbers >= 0: a multiple of the divisor goes before."""
    with code.loop(0, channels, code.constant(0, "i64")) as k:
        k.next(k.carried[0] + code.load(x, k.index * 4, "i32").to("i64"))
    before = 1 << 33
    return (k.results[0] * 2 + channels * (1 + 2 * before)) // (2 * channels) - before


def add(name: str, channels: int, bits: int) -> str:
    code = kernel(name, "a", "b", "y", numbers=["a_shift", "b_shift"])
    a = code.arguments
    with elements(code, a["tokens"], channels) as (i, _):
        x, y = (code.load(a[n], i * 4, "i32").to("i64") for n in ("a", "b"))
        total = rescale(x, a["a_shift"]) + rescale(y, a["b_shift"])
        code.store(saturate(total, bits).to("i32"), a["y"], i * 4)
    return code.text()


def rescale_channels(name: str, channels: int, bits: int, element: str) -> str:
    code = kernel(name, "x", "shifts", "y")
    a = code.arguments
    with elements(code, a["tokens"], channels) as (i, k):
        value = code.load(a["x"], i * 4, "i32").to("i64")
        value = rescale(value, code.load(a["shifts"], k * 2, "i16").to("i64"))
        code.store(saturate(value, bits).to(element), a["y"], i * bytes_of(element))
    return code.text()


def swiglu(name: str, channels: int, bits: int, gated: bool) -> str:
    code = kernel(name, "gate", *(["up"] if gated else []), "shifts", "table", "y", numbers=["gate_shift"])
    a = code.arguments
    with elements(code, a["tokens"], channels) as (i, k):
        gate = code.load(a["gate"], i * 4, "i32").to("i64")
        up = code.load(a["up"], i * 4, "i32").to("i64") if gated else 1
        s = let_through(rescale(gate.maximum(0 - gate), a["gate_shift"]), a["table"])
        s = gate.compare("slt", 0).select(2**15 - s, s)
        silu = round_shift(gate * s, 15)
        value = rescale(silu * up, code.load(a["shifts"], k * 2, "i16").to("i64"))
        code.store(saturate(value, bits).to("i16"), a["y"], i * 2)
    return code.text()


def slice_channels(name: str, channels: int, group: int, start: int, size: int) -> str:
    """`size` of each `group` channels, from `start` on; `channels` are the result's."""
    code = kernel(name, "x", "y")
    a = code.arguments
    with elements(code, a["tokens"], channels) as (i, _):
        code.store(code.load(a["x"], (i // size * group + i % size + start) * 4, "i32"), a["y"], i * 4)
    return code.text()


def soft_cap(name: str, channels: int, bits: int) -> str:
    code = kernel(name, "x", "table", "y", numbers=["x_shift", "multiplier", "shift"])
    a = code.arguments
    with elements(code, a["tokens"], channels) as (i, _):
        u = tanh(rescale(code.load(a["x"], i * 4, "i32").to("i64"), a["x_shift"]), a["table"])
        code.store(saturate(round_shift(u * a["multiplier"], a["shift"]), bits).to("i32"), a["y"], i * 4)
    return code.text()


def last_token(name: str, size: int) -> str:
    """Copies the last of `tokens` rows of `size` bytes; `tokens` is the operand's."""
    code = kernel(name, "x", "y")
    a = code.arguments
    with elements(code, code.constant(1, "i64"), size) as (i, _):
        code.store(code.load(a["x"], (a["tokens"] - 1) * size + i, "i8"), a["y"], i)
    return code.text()


def argmax(name: str, channels: int) -> str:
    code = kernel(name, "x", "y")
    a = code.arguments
    with code.loop(*share(code, a["tokens"])) as token:
        x = code.at(a["x"], token.index * (4 * channels))
        with code.loop(0, channels, code.constant(-(1 << 31), "i32")) as k:
            k.next(k.carried[0].maximum(code.load(x, k.index * 4, "i32")))
        most = k.results[0]
        with code.loop(0, channels, code.constant(channels, "i32")) as k:
            here = code.load(x, k.index * 4, "i32").compare("eq", most)
            k.next(k.carried[0].minimum(here.select(k.index.to("i32"), channels)))
        code.store(k.results[0], a["y"], token.index * 4)
    return code.text()
