"""Engine store: stream y to memory y, as it comes."""

from lutllm.lowering.hardware.control.task import (
    ORIGIN_CYCLES,
    Timing,
    origin,
    stepped_task,
    task_inputs,
    words_then_tokens,
)
from lutllm.lowering.hardware.lib.circt import Design, Module, Signal
from lutllm.lowering.machine.accelerator import AcceleratorConfig

TIMING = Timing(first=ORIGIN_CYCLES, last=2)


def store(design: Design, config: AcceleratorConfig) -> str:
    """Streams in: `task`, `y`. Drives the write port of memory y: base + (start + w) * T + t for word w of token t."""
    bits, width = config.address_bits("y"), config.word_bits("y")

    def body(m: Module) -> dict[str, Signal]:
        levels = words_then_tokens(config)
        task = stepped_task(m, "store", levels, m["y_valid"], after=TIMING.first, latency=TIMING.last)
        address = origin(m, task.fields, task.fields["base"], bits) + task.offset[0:bits]
        return dict(
            task_ready=task.ready,
            y_ready=task.going,
            y_write=m.reg(task.fire, "write_q", reset=0),
            y_write_address=m.reg(address, "address_q"),
            y_write_data=m.reg(m["y_data"], "data_q"),
            done=task.done,
        )

    inputs = task_inputs("store") | {"y_valid": 1, "y_data": width}
    outputs = {"task_ready": 1, "y_ready": 1, "y_write": 1, "y_write_address": bits, "y_write_data": width, "done": 1}
    return design.module("store", inputs, outputs, body)
