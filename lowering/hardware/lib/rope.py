"""RoPE of one pair of channels, which lie side by side in a word: low and high in, rotated out."""

from lutllm.lowering.hardware.lib.arithmetic import clamped
from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, delay, mux

TABLE_BITS, FRACTION_BITS = 16, 14  # of cosines and sines
ROPE_LATENCY = 4


def rope_pair(design: Design, bits: int) -> str:
    """`low` and `high` of `bits` rotated by (`cosine`, `sine`) and clamped to `limit` (as `largest` gives it),
    ROPE_LATENCY cycles later; where not `rotate`, as they are. `rotate` and `limit` are steady."""
    product_bits = bits + TABLE_BITS
    sum_bits = product_bits + 1  # each product is at most 2**(bits + TABLE_BITS - 2), the largest sum twice that

    def body(m: Module) -> dict[str, Signal]:
        def product(channel: str, factor: str) -> Signal:
            value = m[channel].sext(product_bits) * m[factor].sext(product_bits)
            return delay(m, value, 2, f"{channel}_{factor}").sext(sum_bits)

        sums = {
            "low": product("low", "cosine") - product("high", "sine"),
            "high": product("high", "cosine") + product("low", "sine"),
        }
        return {f"{name}_out": _finished(m, name, value) for name, value in sums.items()}

    inputs = {"low": bits, "high": bits, "cosine": TABLE_BITS, "sine": TABLE_BITS, "rotate": 1, "limit": bits}
    return design.module(f"rope_pair_{bits}", inputs, {"low_out": bits, "high_out": bits}, body, reset=False)


def _finished(m: Module, name: str, value: Signal) -> Signal:
    half = 1 << (FRACTION_BITS - 1)
    total = m.reg(value, f"{name}_sum")
    rounded = (total + half)[FRACTION_BITS:]  # the half cannot overflow: total is at most half its range
    raw = delay(m, m[name], ROPE_LATENCY - 1, f"{name}_raw")
    return m.reg(mux(m["rotate"], clamped(rounded, m["limit"]), raw), f"{name}_q")
