"""The functions of `lutllm.functions` in hardware, and RoPE: pipelines that take new arguments every cycle."""

from collections.abc import Sequence
from itertools import pairwise

from lutllm.functions import EXP2, RECIPROCAL, RSQRT, SHARES, SIGMOID_END
from lutllm.lowering.hardware.lib.arithmetic import bit_length, clamped
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import rom
from lutllm.lowering.hardware.lib.signal import Signal, aligned, const, mux, pack
from lutllm.numerics import bits_for

ROOT_LATENCY, SIGMOID_LATENCY, EXP2_LATENCY, RECIPROCAL_LATENCY, ROPE_LATENCY = 9, 4, 4, 7, 4
ROOT_BITS, R_BITS = 63, 16  # of the argument; 2**15 <= r < 2**16
H_BITS, H_OFFSET = 5, 15  # output `h` is h + 15, in 0..31
TANH_LATENCY, TANH_BITS = SIGMOID_LATENCY + 2, 16  # of -2**14 .. 2**14
SHARE_BITS = 16  # of a sigmoid and its argument, 0 .. SIGMOID_END; up to 2**15
POWER_BITS = 16  # 0 .. 2**15
INVERSE_BITS = 17  # 2**15 .. 2**16
TABLE_BITS, FRACTION_BITS = 16, 14  # of cosines and sines
# Between neighbours of a table: of a share at most 2**15 * 0.4 / 32; of EXP2 the first is the largest,
# 2**15 * (1 - 2**(-1/64)).
_STEP_BITS = 9


def reciprocal_root(design: Design) -> str:
    """1 / sqrt(A) as `rsqrt`, by a table and one Newton step: of `a`, unsigned, at least 1, `r` and `h`, which holds
    h + H_OFFSET."""
    table = rom(design, "rsqrt_rom", RSQRT.tolist(), 16)

    def body(m: Module) -> dict[str, Signal]:
        a = m.reg(m["a"], "a_q")
        # h = (bit_length(a) - 31) >> 1, so h + 15 = (bit_length(a) - 1) >> 1: half the index of the highest one.
        h = m.reg((bit_length(a, 6) - 1)[1:6], "half_length")
        # m >> 16 in one shift: a * 2**-(2h + 16) is (a << 14) >> 2 * (h + 15); 2**14 <= it < 2**16.
        shifted = pack([const(0, 14), a]) >> pack([const(0, 1), h]).zext(14 + ROOT_BITS)
        mantissa = m.reg(shifted[0:16], "mantissa")
        index = (mantissa[8:16] - 64).named("table_index")
        t = m.output_of(table, "table", address=index)  # 16 bits, as RSQRT[0] = 65281
        square = m.reg(t.zext(32) * t.zext(32), "square")[15:32]
        product = m.reg(mantissa.zext(33) * square.zext(33), "product", cycles=2)[16:33]  # d, about 2**15
        factor = const(3 << 15, 17) - product  # about 2**16, never negative
        result = m.reg(t.zext(33) * factor.zext(33), "result", cycles=2)[16:32]
        return dict(r=result, h=h)

    outputs = {"r": R_BITS, "h": H_BITS}
    return design.pipeline("reciprocal_root", {"a": ROOT_BITS}, outputs, body, latency=ROOT_LATENCY)


def share(design: Design, activations: Sequence[str] = ("silu",)) -> str:
    """What activations let through of `a`, 12 fraction bits, by a table of each, interpolated: `s`, 15 fraction bits.
    Where there are several, `activation` is the number of one."""
    entries = [int(low) | int(high - low) << SHARE_BITS for name in activations for low, high in pairwise(SHARES[name])]
    name = "sigmoid" if activations == ("silu",) else "_".join(("share", *activations))
    table = rom(design, f"{name}_rom", entries, SHARE_BITS + _STEP_BITS)
    choice = {"activation": bits_for(len(activations))} if len(activations) > 1 else {}

    def body(m: Module) -> dict[str, Signal]:
        place = pack([m["a"][7:SHARE_BITS], *(m[port] for port in choice)])
        entry = m.output_of(table, "table", address=place)
        low, step = entry[0:SHARE_BITS], entry[SHARE_BITS:].zext(_STEP_BITS + 7)
        rise = m.reg(step * m["a"][0:7].zext(_STEP_BITS + 7), "rise", cycles=2)
        return dict(s=m.reg(low + (rise[7:].zext(SHARE_BITS) + rise[6].zext(SHARE_BITS)), "s_q"))

    inputs = {"a": SHARE_BITS} | choice
    return design.pipeline(name, inputs, {"s": SHARE_BITS}, body, steady=tuple(choice), latency=SIGMOID_LATENCY)


def tanh(design: Design, bits: int) -> str:
    """tanh(a / 2**13) in units of 2**-14: of |a|, `size` of `bits` bits, and its sign, `u`."""

    def body(m: Module) -> dict[str, Signal]:
        size, negative = aligned(m["size"], m["negative"])
        limit = const(SIGMOID_END, size.width)
        argument = m.reg(mux(limit.ult(size), limit, size)[0:SHARE_BITS], "argument")
        half, s = const(1 << 14, TANH_BITS), m.output_of(share(design), "sigmoid", a=argument)
        return dict(u=m.reg(mux(negative, half - s, s - half), "u_q"))

    inputs = {"size": bits, "negative": 1}
    return design.pipeline(f"tanh_{bits}", inputs, {"u": TANH_BITS}, body, latency=TANH_LATENCY)


def exp2_negative(design: Design, bits: int) -> str:
    """2**-(t / 2**16) in units of 2**-15: of an unsigned `t` of `bits` bits (at least 22), `power`."""
    starts, steps = EXP2[:64].tolist(), (EXP2[:64] - EXP2[1:]).tolist()
    entries = [start | step << POWER_BITS for start, step in zip(starts, steps, strict=True)]
    table = rom(design, "exp2_rom", entries, POWER_BITS + _STEP_BITS)

    def body(m: Module) -> dict[str, Signal]:
        whole, fraction = m["t"][16:bits], m["t"][0:10]
        looked_up = m.output_of(table, "entries", address=m["t"][10:16])
        product_bits = _STEP_BITS + fraction.width
        product = m.reg(looked_up[POWER_BITS:].zext(product_bits) * fraction.zext(product_bits), "product")
        # Rounded: the bit below the cut is the carry.
        below = product[10:].zext(POWER_BITS) + product[9].zext(POWER_BITS)
        between = m.reg(looked_up[0:POWER_BITS] - below, "between")
        vanishes = const(16, whole.width).ult(whole)
        shifted = (pack([const(0, 1), between]) >> whole[0:5].zext(POWER_BITS + 1)).named("shifted")
        power = shifted[1:] + shifted[0].zext(POWER_BITS)
        return dict(power=m.reg(mux(vanishes, const(0, POWER_BITS), power), "power_q"))

    name = f"exp2_negative_{bits}"
    return design.pipeline(name, {"t": bits}, {"power": POWER_BITS}, body, latency=EXP2_LATENCY)


def reciprocal(design: Design, bits: int) -> str:
    """1 / p ~= r * 2**-(15 + length): of an unsigned `p` >= 1 of `bits` bits, `r` and `length`."""
    entry, length_bits = 16, bits_for(bits + 1)  # bits of the scaled argument and of a table entry
    table, width = rom(design, "reciprocal_rom", RECIPROCAL.tolist(), entry), max(bits, entry)

    def body(m: Module) -> dict[str, Signal]:
        length = m.reg(bit_length(m["p"], length_bits), "length")
        # The highest one goes to the top, the 16 bits from there on are m.
        away = const(width, bits_for(width + 1)) - length.zext(bits_for(width + 1))
        scaled = m.reg((m["p"].zext(width) << away.zext(width))[width - entry :], "scaled")
        t = m.output_of(table, "entries", address=scaled[8:15])
        product = m.reg(scaled.zext(2 * entry) * t.zext(2 * entry), "product")
        # 2**16 - (product >> 16), at most 2**16
        rest = m.reg(const(1 << 16, INVERSE_BITS) - product[16:].zext(INVERSE_BITS), "rest")
        wide = entry + INVERSE_BITS
        refined = m.reg(t.zext(wide) * rest.zext(wide), "refined", cycles=2)
        return dict(r=refined[15 : 15 + INVERSE_BITS], length=length)

    outputs = {"r": INVERSE_BITS, "length": length_bits}
    return design.pipeline(f"reciprocal_{bits}", {"p": bits}, outputs, body, latency=RECIPROCAL_LATENCY)


def rope_pair(design: Design, bits: int) -> str:
    """A pair of channels, which lie side by side in a word: `low` and `high` of `bits`, rotated by (`cosine`, `sine`)
    and clamped to `limit` (as `largest` gives it); where not `rotate`, as they are."""
    product_bits = bits + TABLE_BITS
    sum_bits = product_bits + 1  # each product is at most 2**(bits + TABLE_BITS - 2), the largest sum twice that

    def body(m: Module) -> dict[str, Signal]:
        def product(channel: str, factor: str) -> Signal:
            value = m[channel].sext(product_bits) * m[factor].sext(product_bits)
            return m.reg(value, f"{channel}_{factor}", cycles=2).sext(sum_bits)

        def finished(name: str, value: Signal) -> Signal:
            # The half cannot overflow: the sum is at most half its range.
            rounded = (m.reg(value, f"{name}_sum") + (1 << (FRACTION_BITS - 1)))[FRACTION_BITS:]
            return m.reg(mux(m["rotate"], clamped(rounded, m["limit"]), m[name]), f"{name}_q")

        return dict(
            low_out=finished("low", product("low", "cosine") - product("high", "sine")),
            high_out=finished("high", product("high", "cosine") + product("low", "sine")),
        )

    inputs = {"low": bits, "high": bits, "cosine": TABLE_BITS, "sine": TABLE_BITS, "rotate": 1, "limit": bits}
    outputs = {"low_out": bits, "high_out": bits}
    name, steady = f"rope_pair_{bits}", ("rotate", "limit")
    return design.pipeline(name, inputs, outputs, body, steady=steady, latency=ROPE_LATENCY)
