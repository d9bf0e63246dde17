"""exp2_negative as a pipelined unit: 2**-(t / 2**16) in units of 2**-15, the integers of `lutllm.functions`."""

from __future__ import annotations

from lutllm.functions import EXP2
from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, const, delay, mux, pack
from lutllm.lowering.hardware.lib.rom import rom

LATENCY = 4  # cycles from t to its power
POWER_BITS = 16  # 0 .. 2**15
_STEP_BITS = 9  # of EXP2[i] - EXP2[i + 1]: the largest is the first, 2**15 * (1 - 2**(-1/64)) = 353


def exp2_negative(design: Design, bits: int) -> str:
    """A unit that takes an unsigned `t` of `bits` bits (at least 22) a cycle; `power` comes `LATENCY` cycles later."""
    starts, steps = EXP2[:64].tolist(), (EXP2[:64] - EXP2[1:]).tolist()
    entries = [start | step << POWER_BITS for start, step in zip(starts, steps, strict=True)]
    table = rom(design, "exp2_rom", entries, POWER_BITS + _STEP_BITS)

    def body(m: Module) -> dict[str, Signal]:
        whole = m["t"][16:bits]
        looked_up = m.output_of(table, "entries", address=m["t"][10:16])
        fraction = m.reg(m["t"][0:10], "fraction")
        product_bits = _STEP_BITS + fraction.width
        product = m.reg(looked_up[POWER_BITS:].zext(product_bits) * fraction.zext(product_bits), "product")
        start = m.reg(looked_up[0:POWER_BITS], "start")
        below = product[10:].zext(POWER_BITS) + product[9].zext(
            POWER_BITS
        )  # rounded: the bit below the cut is the carry
        between = m.reg(start - below, "between")
        vanishes = delay(m, const(16, whole.width).ult(whole), LATENCY - 1, "vanishes")
        octaves = delay(m, whole[0:5], LATENCY - 1, "octaves")
        shifted = (pack([const(0, 1), between]) >> octaves.zext(POWER_BITS + 1)).named("shifted")
        power = shifted[1:] + shifted[0].zext(POWER_BITS)
        return dict(power=m.reg(mux(vanishes, const(0, POWER_BITS), power), "power_q"))

    return design.module(f"exp2_negative_{bits}", {"t": bits}, {"power": POWER_BITS}, body, reset=False)
