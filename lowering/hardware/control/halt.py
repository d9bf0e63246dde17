"""How a run ends before its end, and what a reset does: the bus is let come to rest, then everything begins afresh."""

from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import power_on
from lutllm.lowering.hardware.lib.signal import Signal, all_of, const, mux
from lutllm.numerics import bits_for

SILENCE = 4096  # cycles without an answer after a reset, from which on memory is taken to have been reset too


def halt(design: Design) -> str:
    """`reset` is that of all that works: while the sequencer asks for it with `halt`, until the bus is `idle`, which
    comes a cycle late; with the `hard` one, and on until then. `over`: the sequencer may end. After a hard reset,
    `draining` until the bus is idle, or until it has not `moved` for `SILENCE` cycles: what it owes is then forgotten,
    with `clear`, as when the device is configured. `torn`: the last hard reset broke off a write, of which memory has a
    part, as `writing` says when the bus has `stopped`."""

    def body(m: Module) -> dict[str, Signal]:
        m.rst = m.output_of(power_on(design), "power_on")
        hard = m["hard"]
        ends = Wire(1)
        draining = m.flag("draining", hard, ends.signal)
        asked = (m["halt"] | draining).named("asked")
        # A cycle after it was asked for, nothing new goes out; `idle` says so another cycle later.
        over = all_of([m.reg(asked, "asked_q", cycles=2, reset=0), m["idle"], ~hard]).named("may_end")
        ends.assign(over)
        torn = m.reg(m["writing"], "torn", enable=m["stopped"], reset=0)
        bits = bits_for(SILENCE + 1)
        silent = m.state(bits, "silent", reset=0)
        forget = silent.signal.eq(SILENCE).named("forget")
        waits = all_of([draining, ~hard, ~m["moved"], ~forget])
        silent.set(mux(waits, silent.signal + 1, const(0, bits)))
        return dict(reset=asked | hard, over=over, draining=draining, clear=m.rst | forget, torn=torn)

    inputs = {"hard": 1, "halt": 1, "idle": 1, "moved": 1, "writing": 1, "stopped": 1}
    outputs = {"reset": 1, "over": 1, "draining": 1, "clear": 1, "torn": 1}
    return design.module("halt", inputs, outputs, body, reset=False)
