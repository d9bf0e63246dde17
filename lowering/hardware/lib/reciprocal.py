"""reciprocal as a pipelined unit: 1 / p ~= r * 2**-(15 + length), the integers of `lutllm.functions`."""

from __future__ import annotations

from lutllm.functions import RECIPROCAL
from lutllm.lowering.hardware.lib.arithmetic import bit_length
from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, const, delay
from lutllm.lowering.hardware.lib.rom import rom
from lutllm.numerics import bits_for

LATENCY = 7  # cycles from p to r and length
INVERSE_BITS = 17  # 2**15 .. 2**16
_BITS = 16  # of the scaled argument and of a table entry


def reciprocal(design: Design, bits: int) -> str:
    """A unit that takes an unsigned `p` >= 1 of `bits` bits a cycle; `r` and `length` come `LATENCY` cycles later."""
    table, length_bits = rom(design, "reciprocal_rom", RECIPROCAL.tolist(), _BITS), bits_for(bits + 1)
    width = max(bits, _BITS)

    def body(m: Module) -> dict[str, Signal]:
        length = m.reg(bit_length(m["p"], length_bits), "length")
        p = m.reg(m["p"], "p_q")
        # The highest one goes to the top, the 16 bits from there on are m.
        away = const(width, bits_for(width + 1)) - length.zext(bits_for(width + 1))
        scaled = m.reg((p.zext(width) << away.zext(width))[width - _BITS :], "scaled")
        t = m.output_of(table, "entries", address=scaled[8:15])
        product = m.reg(m.reg(scaled, "scaled_q").zext(2 * _BITS) * t.zext(2 * _BITS), "product")
        # 2**16 - (product >> 16), at most 2**16
        rest = m.reg(const(1 << 16, INVERSE_BITS) - product[16:].zext(INVERSE_BITS), "rest")
        wide = _BITS + INVERSE_BITS
        refined = delay(m, delay(m, t, 2, "entry_q").zext(wide) * rest.zext(wide), 2, "refined")
        return dict(r=refined[15 : 15 + INVERSE_BITS], length=delay(m, length, LATENCY - 1, "length_q"))

    outputs = {"r": INVERSE_BITS, "length": length_bits}
    return design.module(f"reciprocal_{bits}", {"p": bits}, outputs, body, reset=False)
