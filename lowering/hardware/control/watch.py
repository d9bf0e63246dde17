"""The watchdog: says that a run has stopped moving, and which engines were busy then."""

from lutllm.lowering.hardware.control.registers import ENGINES_BITS
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, all_of, const, mux
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.numerics import bits_for


def watch(design: Design, config: AcceleratorConfig) -> str:
    """`progress`: something moves in this cycle. After `config.watchdog` cycles in a row of `busy` without it,
    `watchdog` rises and `stalled` holds `engines_busy` of that cycle, both until `start` or reset."""
    bits = bits_for(config.watchdog)

    def body(m: Module) -> dict[str, Signal]:
        count, fired = m.state(bits, "count", reset=0), m.state(1, "watchdog_q", reset=0)
        still = all_of([m["busy"], ~m["progress"], ~m["start"]])
        fire = all_of([still, count.signal.eq(config.watchdog - 1), ~fired.signal]).named("fire")
        count.set(mux(still & ~fire, count.signal + 1, const(0, bits)))
        fired.set(~m["start"] & (fired.signal | fire))
        stalled = m.reg(
            mux(fire, m["engines_busy"], const(0, ENGINES_BITS)), "stalled_q", enable=fire | m["start"], reset=0
        )
        return dict(watchdog=fired.signal, stalled=stalled)

    inputs = {"start": 1, "busy": 1, "progress": 1, "engines_busy": ENGINES_BITS}
    return design.module("watch", inputs, {"watchdog": 1, "stalled": ENGINES_BITS}, body)
