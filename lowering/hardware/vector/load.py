"""Engine load: rows from external memory to memory x, in the order in which they will lie there."""

from lutllm.lowering.hardware.control.task import Timing, stepped_task, task_inputs, words_then_tokens
from lutllm.lowering.hardware.lib.circt import Design, Module, Signal
from lutllm.lowering.hardware.vector.transfer import TRANSFER_PORTS, transfer, words_of_tokens
from lutllm.lowering.machine.accelerator import AcceleratorConfig

TIMING = Timing(first=0, last=2)


def load(design: Design, config: AcceleratorConfig) -> str:
    """Streams in: `task`, `in` (beats of the reader of port x, a word each). Stream out: `command` of the reader.

    Word w of token t is beat w * T + t of the transfer and goes to memory x, word base + w * T + t. The rows of the
    tokens before the pass, passes before it that is, lie before it in memory.
    """
    bits, width = config.address_bits("x"), config.load_bits

    def body(m: Module) -> dict[str, Signal]:
        task = stepped_task(m, "load", words_then_tokens(config), m["in_valid"], latency=TIMING.last)
        f = task.fields
        skipped = words_of_tokens(m, f["position"], config.position_bits, f["words"], "skipped")
        command, _ = transfer(m, task.busy, f, skipped, width, config.tokens)
        return command | dict(
            task_ready=task.ready,
            in_ready=task.going,
            x_write=m.reg(task.fire, "write_q", reset=0),
            x_write_address=m.reg(f["base"][0:bits] + task.offset[0:bits], "address_q"),
            x_write_data=m.reg(m["in_data"], "data_q"),
            done=task.done,
        )

    inputs = task_inputs("load") | {"in_valid": 1, "in_data": width, "command_ready": 1}
    outputs = {"task_ready": 1, "in_ready": 1, **TRANSFER_PORTS}
    outputs |= {"x_write": 1, "x_write_address": bits, "x_write_data": width, "done": 1}
    return design.module("load", inputs, outputs, body)
