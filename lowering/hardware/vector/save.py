"""Engine save: stream y to external memory, as it comes, 32 bits a channel."""

from typing import Any

from lutllm.lowering.hardware.control.records import task_port, words
from lutllm.lowering.hardware.control.task import Timing, stepped_task, words_then_tokens
from lutllm.lowering.hardware.lib.axi import commands
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import pack
from lutllm.lowering.hardware.lib.stream import Stream
from lutllm.lowering.hardware.vector.transfer import WORDS_BITS, transfer, words_of_tokens
from lutllm.lowering.machine.accelerator import SAVE_BITS, AcceleratorConfig
from lutllm.numerics import bits_for

TIMING = Timing(first=0, last=1)  # to the end of its work: `done` comes later, with the memory's answer


def save(design: Design, config: AcceleratorConfig) -> str:
    """Streams in: `task`, `y`. Streams out: `out` and `command` of the writer of port y, which says in `written` that
    all of a command is in memory. `done` is that: a task leaves the engine before, so that the next one need not wait.

    Word w of token t of the round is beat w * T + t; rounds of a row follow each other, `start` words of each token
    before this one's, and passes follow each other, `row_words` for each token.
    """

    def body(m: Module) -> dict[str, Any]:
        over, moves, y = Wire(1), Wire(1), m["y"]
        task = stepped_task(m, config, "save", words_then_tokens(config), moves.signal, latency=over.signal)
        f = task.fields
        lanes = [lane.sext(SAVE_BITS) for lane in y.data.chunks(config.y_bits)]
        out = Stream(task.going & y.valid, data=pack(lanes))
        moves.assign(y.valid & out.ready)
        y.drive(ready=task.going & out.ready)
        before = words_of_tokens(m, f["position"], config.position_bits, f["row_words"], "rows_skipped")
        before = before + words_of_tokens(m, f["tokens"], bits_for(config.tokens + 1), f["start"], "words_skipped")
        command, sent = transfer(m, task.busy, f, before[0:WORDS_BITS], config.save_bits, config.tokens)
        over.assign(m.since("all_moved", task.finish, task.busy) & sent)
        return dict(command=command, out=out, done=m["written"])

    inputs = {"task": task_port(config, "save"), "y": words(config, "y"), "written": 1}
    outputs = {"out": Stream.of(config.save_bits), "command": commands(), "done": 1}
    return design.module("save", inputs, outputs, body)
