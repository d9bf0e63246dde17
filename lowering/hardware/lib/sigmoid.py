"""1 / (1 + exp(-a)) as `lutllm.functions.sigmoid`: a table, interpolated, pipelined, a new argument every cycle."""

from itertools import pairwise

from lutllm.functions import SIGMOID
from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, delay
from lutllm.lowering.hardware.lib.rom import rom

A_BITS = 16
S_BITS = 16  # up to 2**15
SIGMOID_LATENCY = 4  # cycles from `a` to `s`
_STEP_BITS = 9  # between neighbours of the table: at most 2**15 / 4 / 32


def sigmoid(design: Design) -> str:
    """In: `a`, 0 .. SIGMOID_END, 12 fraction bits. Out, `SIGMOID_LATENCY` cycles later: `s`, 15 fraction bits."""
    entries = [int(low) | int(high - low) << S_BITS for low, high in pairwise(SIGMOID)]
    table = rom(design, "sigmoid_rom", entries, S_BITS + _STEP_BITS)

    def body(m: Module) -> dict[str, Signal]:
        entry = m.output_of(table, "table", address=m["a"][7:A_BITS])
        fraction = m.reg(m["a"][0:7], "fraction")
        low, step = entry[0:S_BITS], entry[S_BITS:]
        rise = delay(m, step.zext(_STEP_BITS + 7) * fraction.zext(_STEP_BITS + 7), 2, "rise")
        rounded = rise[7:].zext(S_BITS) + rise[6].zext(S_BITS)
        return dict(s=m.reg(delay(m, low, 2, "low") + rounded, "s_q"))

    return design.module("sigmoid", {"a": A_BITS}, {"s": S_BITS}, body, reset=False)
