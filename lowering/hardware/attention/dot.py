"""Sums of products of 16 by 8 bits, and trees of sums. The wide factor is cut in bytes: a DSP58 adds three products of
9 by 8 bits (AMD AM004, "Dot Product Unit"), so two DSPs make three of 16 by 8."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import ceil

from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, const, pack

WIDE, NARROW, BYTE = 16, 8, 8  # bits of the factors, and of the parts of a wide one
TERMS = 3  # that a unit adds
UNIT = "dot_unit"  # names of its modules begin so
_PRODUCT = 2  # registers of products, for the multiplier to retime into
_ADDENDS = 4  # two levels of a tree of adders a cycle


def _levels(terms: int) -> int:
    return 0 if terms == 1 else 1 + _levels(ceil(terms / _ADDENDS))


def dot_latency(terms: int) -> int:
    """Cycles from the factors to the sum of their products."""
    return _PRODUCT + (0 if terms == 1 else _levels(2 * ceil(terms / TERMS)))


def dot_bits(terms: int) -> int:
    """Of the sum, signed; the bytes' sums have a sign more."""
    return WIDE + NARROW + (terms > 1) + (terms - 1).bit_length()


def tree(m: Module, level: Sequence[Signal], bits: int, name: str) -> Signal:
    """The sum of signed terms at `bits`, a cycle for each level."""
    while len(level) > 1:
        sums = []
        for i in range(0, len(level), _ADDENDS):
            total = level[i].sext(bits)
            for term in level[i + 1 : i + _ADDENDS]:
                total = total + term.sext(bits)
            sums.append(m.reg(total, f"{name}_of_{len(level)}_{i // _ADDENDS}"))
        level = sums
    return level[0].sext(bits)


def dot_unit(design: Design, terms: int) -> str:
    """The sum of up to `TERMS` signed products of 9 by 8 bits: a DSP58."""
    width = BYTE + 1 + NARROW
    bits = width + (terms - 1).bit_length()

    def body(m: Module) -> dict[str, Signal]:
        factors = zip(m["a"].chunks(BYTE + 1), m["b"].chunks(NARROW), strict=True)
        products = [(a.sext(width) * b.sext(width)).sext(bits) for a, b in factors]
        return dict(sum=m.reg(reduce(Signal.__add__, products), "sum_q", cycles=_PRODUCT))

    inputs = {"a": terms * (BYTE + 1), "b": terms * NARROW}
    return design.pipeline(f"{UNIT}_{terms}", inputs, {"sum": bits}, body)


def dot(design: Design, terms: int, *, signed: bool) -> str:
    """`sum` of the products of `terms` wide factors `a`, which are `signed` or not, and signed narrow ones `b`."""
    bits = dot_bits(terms)

    def body(m: Module) -> dict[str, Signal]:
        wide, narrow = m["a"].chunks(WIDE), m["b"].chunks(NARROW)
        if terms == 1:
            a = m["a"].sext(bits) if signed else m["a"].zext(bits)
            return dict(sum=m.reg(a * m["b"].sext(bits), "product", cycles=_PRODUCT))
        sums = []
        for first in range(0, terms, TERMS):
            some = wide[first : first + TERMS]
            high = [a[BYTE:].sext(BYTE + 1) if signed else a[BYTE:].zext(BYTE + 1) for a in some]
            low = [a[:BYTE].zext(BYTE + 1) for a in some]
            b, made = pack(narrow[first : first + TERMS]), dot_unit(design, len(some))
            sums.append(pack([const(0, BYTE), m.output_of(made, f"high_{first}", a=pack(high), b=b)]))
            sums.append(m.output_of(made, f"low_{first}", a=pack(low), b=b))
        return dict(sum=tree(m, sums, bits, "sum"))

    for some in {min(TERMS, terms), terms % TERMS} - {0}:
        dot_unit(design, some)
    name, inputs = f"dot_{'signed' if signed else 'unsigned'}_{terms}", {"a": terms * WIDE, "b": terms * NARROW}
    return design.pipeline(name, inputs, {"sum": bits}, body, latency=dot_latency(terms))
