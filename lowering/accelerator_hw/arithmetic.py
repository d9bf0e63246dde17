"""Integer arithmetic of the vector engines, combinational: rescale with one rounding, saturate, count bits."""

from __future__ import annotations

from lutllm.lowering.accelerator import LEFT
from lutllm.lowering.circt import Signal, const, mux, pack, round_shift


def rescaled(value: Signal, right: Signal, bits: int) -> Signal:
    """`lutllm.numerics.rescale(value, LEFT - right)`, its low `bits` bits: callers saturate before they cut."""
    shifted = pack([const(0, LEFT), value])
    return round_shift(shifted, right, bits)


def saturated(value: Signal, bits: int) -> Signal:
    """`value` clamped to signed `bits` bits."""
    low, high = const(-(1 << (bits - 1)), value.width), const((1 << (bits - 1)) - 1, value.width)
    clamped = mux(value.slt(low), low, mux(high.slt(value), high, value))
    return clamped[0:bits]


def saturated_to(value: Signal, bits: Signal, width: int) -> Signal:
    """`value` clamped to `bits` (a signal, 1..`width`) signed bits, `width` bits wide."""
    one = const(1, value.width)
    high = (one << (bits - 1).zext(value.width)) - 1
    low = ~high
    clamped = mux(value.slt(low), low, mux(high.slt(value), high, value))
    return clamped[0:width]


def magnitude(value: Signal) -> Signal:
    """|value|, one bit wider, so that the most negative fits."""
    wide = value.sext(value.width + 1)
    return mux(value[value.width - 1], const(0, wide.width) - wide, wide)


def bit_length(value: Signal, bits: int) -> Signal:
    """Bits of an unsigned value: 0 for 0, else 1 + the index of its highest one; `bits` wide."""
    found = const(0, bits)
    for i in range(value.width):
        found = mux(value[i], const(i + 1, bits), found)
    return found
