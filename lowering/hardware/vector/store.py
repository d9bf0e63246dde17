"""Engine store: stream y to memory y, as it comes."""

from typing import Any

from lutllm.lowering.hardware.control.records import task_port, words, writes
from lutllm.lowering.hardware.control.task import ORIGIN_CYCLES, Timing, origin, stepped_task, words_then_tokens
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.stream import Write
from lutllm.lowering.machine.accelerator import AcceleratorConfig

TIMING = Timing(first=ORIGIN_CYCLES, last=2)


def store(design: Design, config: AcceleratorConfig) -> str:
    """Streams in: `task`, `y`. Writes memory y: base + (start + w) * T + t for word w of token t."""
    bits = config.address_bits("y")

    def body(m: Module) -> dict[str, Any]:
        y, levels = m["y"], words_then_tokens(config)
        task = stepped_task(m, config, "store", levels, y.valid, after=TIMING.first, latency=TIMING.last)
        y.drive(ready=task.going)
        address = origin(m, task.fields, task.fields["base"], bits) + task.offset[0:bits]
        write = Write(task.step, task.pipe.at(address), task.pipe.at(y.data)).later(m)
        task.ends(write.enable)
        return dict(y_write=write, done=task.done)

    inputs = {"task": task_port(config, "store"), "y": words(config, "y")}
    return design.module("store", inputs, {"y_write": writes(config, "y"), "done": 1}, body)
