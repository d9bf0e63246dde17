"""Engine load: rows from external memory to memory x, in the order in which they will lie there."""

from typing import Any

from lutllm.lowering.hardware.control.records import task_port, writes
from lutllm.lowering.hardware.control.task import Timing, stepped_task, words_then_tokens
from lutllm.lowering.hardware.lib.axi import commands
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.stream import Stream, Write
from lutllm.lowering.hardware.vector.transfer import transfer, words_of_tokens
from lutllm.lowering.machine.accelerator import AcceleratorConfig

TIMING = Timing(first=0, last=2)


def load(design: Design, config: AcceleratorConfig) -> str:
    """Streams in: `task`, `in` (beats of the reader of port x, a word each). Stream out: `command` of the reader.

    Word w of token t is beat w * T + t of the transfer and goes to memory x, word base + w * T + t. The rows of the
    tokens before the pass, passes before it that is, lie before it in memory.
    """
    bits, width = config.address_bits("x"), config.load_bits

    def body(m: Module) -> dict[str, Any]:
        given = m["in"]
        task = stepped_task(m, config, "load", words_then_tokens(config), given.valid, latency=TIMING.last)
        f = task.fields
        given.drive(ready=task.going)
        skipped = words_of_tokens(m, f["position"], config.position_bits, f["words"], "skipped")
        command, _ = transfer(m, task.busy, f, skipped, width, config.tokens)
        address = task.pipe.at(f["base"][0:bits] + task.offset[0:bits])
        write = Write(task.step, address, task.pipe.at(given.data)).later(m)
        task.ends(write.enable)
        return dict(command=command, x_write=write, done=task.done)

    outputs = {"command": commands(), "x_write": writes(config, "x"), "done": 1}
    return design.module("load", {"task": task_port(config, "load"), "in": Stream.of(width)}, outputs, body)
