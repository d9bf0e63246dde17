"""Integer arithmetic of the vector engines, combinational where nothing else is said: rescale, saturate, count bits."""

from __future__ import annotations

from lutllm.lowering.hardware.lib.circt import Module
from lutllm.lowering.hardware.lib.signal import Signal, const, mux, pack
from lutllm.lowering.machine.accelerator import LEFT
from lutllm.numerics import bits_for


def round_shift(value: Signal, amount: Signal, bits: int) -> Signal:
    """`lutllm.numerics.round_shift`, cut to `bits`: the bit below the cut is the carry."""
    doubled = pack([const(0, 1), value])
    shifted = doubled.sra(amount.zext(doubled.width)).named("shifted")
    floor, carry = shifted[1:], shifted[0]
    width = max(bits, floor.width)
    return (floor.sext(width) + carry.zext(width)).named("rounded")[0:bits]


def rounded_later(m: Module, value: Signal, right: Signal, name: str) -> Signal:
    """`round_shift(value, right)` at the width of `value`, a cycle later: a register stands before the carry is added.

    `right` may be larger than the width.
    """
    doubled = pack([const(0, 1), value])
    shifted = m.reg(doubled.sra(right.zext(doubled.width)), name)
    return shifted[1:] + shifted[0].zext(value.width)


def rescaled_later(m: Module, value: Signal, right: Signal, name: str) -> Signal:
    """`lutllm.numerics.rescale(value, LEFT - right)` a cycle later, exact: LEFT bits wider than `value`."""
    return rounded_later(m, pack([const(0, LEFT), value]), right, name)


def saturated(value: Signal, bits: int) -> Signal:
    """`value` clamped to signed `bits` bits."""
    low, high = const(-(1 << (bits - 1)), value.width), const((1 << (bits - 1)) - 1, value.width)
    clamped = mux(value.slt(low), low, mux(high.slt(value), high, value))
    return clamped[0:bits]


def largest(bits: Signal, width: int) -> Signal:
    """The largest integer of `bits` (1..`width`) signed bits, `width` bits wide; for `clamped`."""
    return (const(1, width) << (bits - 1)[0 : bits_for(width + 1)].zext(width)) - 1


def clamped(value: Signal, high: Signal) -> Signal:
    """`value` clamped to -high - 1 .. high, at the width of `high`: a limit worked out once serves many lanes."""
    top = high.zext(value.width)
    low = ~top
    return mux(value.slt(low), low, mux(top.slt(value), top, value))[0 : high.width]


def magnitude(value: Signal) -> Signal:
    """|value|, one bit wider, so that the most negative fits."""
    wide = value.sext(value.width + 1)
    return mux(value[value.width - 1], const(0, wide.width) - wide, wide)


def bit_length(value: Signal, bits: int) -> Signal:
    """Bits of an unsigned value: 0 for 0, else 1 + the index of its highest one; `bits` wide."""
    # With a one below it, the index of the highest one is the length; halves make it a tree.
    return _highest(pack([const(1, 1), value]))[1].zext(bits)


def _highest(value: Signal) -> tuple[Signal, Signal]:
    """Whether there is a one in `value` (of two bits at least), and the index of the highest."""
    if value.width == 2:
        return value[0] | value[1], value[1]
    half = 1 << ((value.width - 1).bit_length() - 1)
    there, index = _highest(value[0:half])
    rest = value[half:]
    above, place = (rest, None) if rest.width == 1 else _highest(rest)
    place = const(0, index.width) if place is None else place.zext(index.width)
    return above | there, pack([mux(above, place, index), above])


def round_shift_staged(m: Module, value: Signal, amount: Signal, bits: int) -> Signal:
    """`round_shift`, cut to `bits`, two cycles later: by whole eights, then by the rest with the rounding.

    Cutting off in two steps cuts off the same, and the bit below the cut stays until the end.
    """
    doubled = pack([const(0, 1), value])
    eights = pack([const(0, 3), amount[3:]]).zext(doubled.width)
    coarse = m.reg(doubled.sra(eights), "coarse")
    shifted = coarse.sra(m.reg(amount[0:3], "fine").zext(doubled.width)).named("shifted")
    floor, carry = shifted[1:], shifted[0]
    width = max(bits, floor.width)
    return m.reg((floor.sext(width) + carry.zext(width))[0:bits], "rounded")
