"""Engine swiglu: gate * share(gate) * up, as lut.swiglu, at the exponents of the linear that reads it, to memory x."""

from typing import Any

from lutllm.functions import SIGMOID_END
from lutllm.lowering.hardware.control.records import reads, task_port, words, writes
from lutllm.lowering.hardware.control.task import ORIGIN_CYCLES, Timing, origin, stepped_task, words_then_tokens
from lutllm.lowering.hardware.lib.arithmetic import clamped, largest, magnitude, rescaled_later, round_shift
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.functions import SHARE_BITS, share
from lutllm.lowering.hardware.lib.signal import Signal, aligned, const, mux, pack
from lutllm.lowering.hardware.lib.stream import Read, Stream, Write
from lutllm.lowering.machine.accelerator import RIGHT_BITS, VALUE_BITS, X_BITS, AcceleratorConfig
from lutllm.numerics import bits_for

TIMING = Timing(first=ORIGIN_CYCLES, last=17)


def swiglu(design: Design, config: AcceleratorConfig) -> str:
    """Streams in: `task`, `y` (up), `p` (right, of a vector word). Reads memory y, where gate stands, and writes memory
    x; word w of both is at base + (start + w) * T + t. In mode plain_mlp a task may have its gate from y, up is 1."""
    y_bits, x_bits = config.address_bits("y"), config.address_bits("x")
    lane = swiglu_lane(design, config)

    def body(m: Module) -> dict[str, Any]:
        y, p, levels = m["y"], m["p"], words_then_tokens(config)
        task = stepped_task(m, config, "swiglu", levels, y.valid & p.valid, after=TIMING.first, latency=TIMING.last)
        f, at = task.fields, task.pipe.at
        y.drive(ready=task.fire)
        p.drive(ready=task.fire & task.last["token"])
        bits = max(x_bits, y_bits)
        skipped = origin(m, f, None, bits) + task.offset[0:bits]  # the same of both memories
        reads_gate = task.step & ~f["plain"][0] if "plain_mlp" in config.modes else task.step
        read = Read(at(f["gate"][0:y_bits] + skipped[0:y_bits]), config.word_bits("y"), reads_gate)
        shared = dict(sigmoid_right=f["sigmoid_right"], high=m.reg(largest(f["bits"], X_BITS), "high"))
        shared |= {name: f[name][0:width] for name, width in _choice(config).items()}
        given = read.data.chunks(config.y_bits), y.data.chunks(config.y_bits), p.data.chunks(VALUE_BITS + RIGHT_BITS)
        results = []
        for i, (gate, up, parameter) in enumerate(zip(*given, strict=True)):
            up = at(up)
            if "plain_mlp" in config.modes:
                plain = f["plain"][0]
                gate, up = mux(plain, up, gate), mux(plain, const(1, up.width), up)
            inputs = dict(gate=gate, up=up, right=at(parameter[VALUE_BITS:]))
            results.append(m.output_of(lane, f"lane_{i}", **inputs, **shared))
        write = Write(task.step, at(f["base"][0:x_bits] + skipped[0:x_bits]), pack(results))
        task.ends(write.enable)
        return dict(y_read=read, x_write=write, done=task.done)

    inputs = {"task": task_port(config, "swiglu"), "y": words(config, "y"), "p": Stream.of(config.p_bits)}
    outputs = {"y_read": reads(config, "y"), "x_write": writes(config, "x"), "done": 1}
    return design.module("swiglu", inputs, outputs, body)


def _choice(config: AcceleratorConfig) -> dict[str, int]:
    """The port that says which activation it is, where there are several."""
    several = len(config.activations) > 1
    return {"activation": bits_for(len(config.activations))} if several else {}


def swiglu_lane(design: Design, config: AcceleratorConfig) -> str:
    """A channel."""
    bits, choice = config.y_bits, _choice(config)

    def body(m: Module) -> dict[str, Signal]:
        gate = m.reg(m["gate"], "gate_q")
        size = rescaled_later(m, magnitude(gate), m["sigmoid_right"], "size_shifted")
        limit = const(SIGMOID_END, size.width)
        argument = mux(limit.ult(size), limit, size)[0:SHARE_BITS]  # never negative
        given = {name: m[name] for name in choice}
        found = m.output_of(share(m.design, config.activations), "sigmoid", a=m.reg(argument, "argument"), **given)
        gate, s = aligned(gate, found)
        s = mux(gate[bits - 1], const(1 << 15, SHARE_BITS) - s, s)
        wide = bits + SHARE_BITS + 1
        factors = m.reg(gate, "gate_factor").sext(wide), m.reg(s, "sigmoid_factor").zext(wide)
        weighted = m.reg(factors[0] * factors[1], "weighted", cycles=2)
        # A share is at most 1: silu is no larger than gate.
        silu = m.reg(round_shift(weighted, const(15, 4), bits), "silu").sext(2 * bits)
        product = m.reg(silu * m["up"].sext(2 * bits), "product", cycles=2)
        result = clamped(rescaled_later(m, product, m["right"], "result_shifted"), m["high"])
        return dict(result=m.reg(result, "result_q"))

    inputs = {"gate": bits, "up": bits, "right": RIGHT_BITS, "sigmoid_right": 8, "high": X_BITS}
    steady = ("sigmoid_right", "high", *choice)
    return design.pipeline("swiglu_lane", inputs | choice, {"result": X_BITS}, body, steady=steady)
