"""Soft-caps: the distances of a step's scores from their pair's maximum, each of its hyperbolic tangent, in log2.

Every row, and the maximum, goes through a tanh of its own: that is monotone, so the maximum's is the largest. A task
without a cap gets the same distances as without the mode, as many cycles later.
"""

from __future__ import annotations

from lutllm.functions import SOFTCAP_SHIFT
from lutllm.lowering.hardware.attention.attention_parameters import MULTIPLIER_BITS
from lutllm.lowering.hardware.attention.scores import SCORE_BITS
from lutllm.lowering.hardware.lib.arithmetic import magnitude, round_shift_staged
from lutllm.lowering.hardware.lib.circt import Module
from lutllm.lowering.hardware.lib.functions import TANH_BITS, TANH_LATENCY, tanh
from lutllm.lowering.hardware.lib.signal import Signal, const, mux

SOFTCAP_BITS = 32  # of the field, below 2**31; 0 where a task has none
CAPPED_LATENCY = TANH_LATENCY + 6
_VALUE_BITS = SCORE_BITS + 1  # a score, or how far it is from the maximum
_FAR = 17 << 16  # in log2: nothing is left of a weight


def capped_distances(m: Module, scores: Signal, maximum: Signal, multiplier: Signal) -> list[Signal]:
    """As of `weighted`, CAPPED_LATENCY cycles later; reads the task's `shift` and `softcap`, both steady."""
    softcap, multiplier, found = m["softcap"].steady(), m.reg(multiplier, "multiplier_q"), []
    capped, wide = m.reg(softcap.ne(0), "capped").steady(), _VALUE_BITS + MULTIPLIER_BITS

    def scaled(value: Signal, name: str) -> Signal:
        product = m.reg(m.reg(value, name).sext(wide) * multiplier.zext(wide), f"scaled_{name}", cycles=2)
        return round_shift_staged(m, product, m["shift"].steady(), wide)

    def bent(value: Signal, name: str) -> Signal:
        size, negative = m.reg(magnitude(value), f"size_{name}"), m.reg(value[wide - 1], f"sign_{name}")
        return m.output_of(tanh(m.design, size.width), f"tanh_{name}", size=size, negative=negative)

    largest = bent(scaled(maximum.sext(_VALUE_BITS), "maximum"), "maximum")
    for i, score in enumerate(scores.chunks(SCORE_BITS)):
        given = mux(capped, score.sext(_VALUE_BITS), (maximum - score).zext(_VALUE_BITS))
        value, far = scaled(given, f"value_{i}"), const(_FAR, wide)
        away = m.reg(largest - bent(value, f"value_{i}"), f"away_{i}")
        bits = TANH_BITS + SOFTCAP_BITS
        product = m.reg(away.zext(bits) * softcap.zext(bits), f"product_{i}", cycles=2)
        carry = product[SOFTCAP_SHIFT - 1].zext(bits - SOFTCAP_SHIFT)
        t = m.reg(product[SOFTCAP_SHIFT:] + carry, f"rounded_{i}")
        plain = m.reg(mux(far.ult(value), far, value)[0 : _FAR.bit_length()], f"plain_{i}")
        found.append(m.reg(mux(capped, t, plain.zext(t.width)), f"distance_{i}"))
    return found
