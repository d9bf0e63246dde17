"""Engine swiglu: gate * sigmoid(gate) * up, at the exponents of the linear that reads it, to memory x."""

from lutllm.functions import SIGMOID_END
from lutllm.lowering.hardware.control.task import (
    ORIGIN_CYCLES,
    Timing,
    origin,
    stepped_task,
    task_inputs,
    words_then_tokens,
)
from lutllm.lowering.hardware.lib.arithmetic import clamped, largest, magnitude, rescaled_later
from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, const, delay, mux, pack, round_shift
from lutllm.lowering.hardware.lib.sigmoid import A_BITS, S_BITS, SIGMOID_LATENCY, sigmoid
from lutllm.lowering.machine.accelerator import RIGHT_BITS, VALUE_BITS, X_BITS, AcceleratorConfig

_SIGMOID = 4 + SIGMOID_LATENCY  # cycles from a step to the sigmoid
_PRODUCT = _SIGMOID + 6  # to silu * up
LATENCY = _PRODUCT + 2  # to the word
TIMING = Timing(first=ORIGIN_CYCLES, last=LATENCY + 1)


def swiglu(design: Design, config: AcceleratorConfig) -> str:
    """Streams in: `task`, `y` (up), `p` (right, of a vector word). Drives the read port of memory y, where gate stands,
    and the write port of memory x; word w of both is at base + (start + w) * T + t."""
    y_bits, x_bits = config.address_bits("y"), config.address_bits("x")
    lane = swiglu_lane(design, config)

    def body(m: Module) -> dict[str, Signal]:
        valid = m["y_valid"] & m["p_valid"]
        levels = words_then_tokens(config)
        task = stepped_task(m, "swiglu", levels, valid, after=TIMING.first, latency=TIMING.last)
        f = task.fields
        bits = max(x_bits, y_bits)
        skipped = origin(m, f, None, bits) + task.offset[0:bits]  # the same of both memories
        shared = dict(sigmoid_right=f["sigmoid_right"], high=m.reg(largest(f["bits"], X_BITS), "high"))
        words = m["y_read_data"].chunks(config.y_bits), m["y_data"].chunks(config.y_bits)
        parameters = m["p_data"].chunks(VALUE_BITS + RIGHT_BITS)
        results = []
        for i, (gate, up, given) in enumerate(zip(*words, parameters, strict=True)):
            inputs = dict(gate=gate, up=up, right=given[VALUE_BITS:])
            results.append(m.output_of(lane, f"lane_{i}", **inputs, **shared))
        return dict(
            task_ready=task.ready,
            y_ready=task.fire,
            p_ready=task.fire & task.last["token"],
            y_read=task.fire,
            y_read_address=f["gate"][0:y_bits] + skipped[0:y_bits],
            x_write=delay(m, task.fire, LATENCY, "write", reset=0),
            x_write_address=delay(m, f["base"][0:x_bits] + skipped[0:x_bits], LATENCY, "write_address"),
            x_write_data=pack(results),
            done=task.done,
        )

    inputs = task_inputs("swiglu") | {"y_valid": 1, "y_data": config.word_bits("y")}
    inputs |= {"p_valid": 1, "p_data": config.p_bits, "y_read_data": config.word_bits("y")}
    outputs = {"task_ready": 1, "y_ready": 1, "p_ready": 1, "y_read": 1, "y_read_address": y_bits}
    outputs |= {"x_write": 1, "x_write_address": x_bits, "x_write_data": config.word_bits("x"), "done": 1}
    return design.module("swiglu", inputs, outputs, body)


def swiglu_lane(design: Design, config: AcceleratorConfig) -> str:
    """A channel. `up` and `right` come with the step, `gate` a cycle later, `result` after `LATENCY`."""
    bits = config.y_bits

    def body(m: Module) -> dict[str, Signal]:
        gate = m.reg(m["gate"], "gate_q")
        size = rescaled_later(m, magnitude(gate), m["sigmoid_right"], "size_shifted")
        limit = const(SIGMOID_END, size.width)
        argument = mux(limit.ult(size), limit, size)[0:A_BITS]  # never negative
        s = m.output_of(sigmoid(m.design), "sigmoid", a=m.reg(argument, "argument"))
        late = delay(m, gate, _SIGMOID - 2, "gate_late")
        s = mux(late[bits - 1], const(1 << 15, S_BITS) - s, s)
        wide = bits + S_BITS + 1
        factors = m.reg(late, "gate_factor").sext(wide), m.reg(s, "sigmoid_factor").zext(wide)
        weighted = delay(m, factors[0] * factors[1], 2, "weighted")
        # sigmoid is at most 1: silu is no larger than gate.
        silu = m.reg(round_shift(weighted, const(15, 4), bits), "silu").sext(2 * bits)
        up = delay(m, m["up"], _PRODUCT - 2, "up_late").sext(2 * bits)
        product = delay(m, silu * up, 2, "product")
        right = delay(m, m["right"], _PRODUCT, "right_late")
        result = clamped(rescaled_later(m, product, right, "result_shifted"), m["high"])
        return dict(result=m.reg(result, "result_q"))

    inputs = {"gate": bits, "up": bits, "right": RIGHT_BITS, "sigmoid_right": 8, "high": X_BITS}
    return design.module("swiglu_lane", inputs, {"result": X_BITS}, body, reset=False)
