"""Engine save: stream y to external memory, as it comes, 32 bits a channel."""

from lutllm.lowering.hardware.control.task import Timing, stepped_task, task_inputs, words_then_tokens
from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, Wire, pack
from lutllm.lowering.hardware.vector.transfer import TRANSFER_PORTS, WORDS_BITS, transfer, words_of_tokens
from lutllm.lowering.machine.accelerator import SAVE_BITS, AcceleratorConfig
from lutllm.numerics import bits_for

TIMING = Timing(first=0, last=1)  # to the end of its work: `done` comes later, with the memory's answer


def save(design: Design, config: AcceleratorConfig) -> str:
    """Streams in: `task`, `y`. Streams out: `out` and `command` of the writer of port y, which says in `written` that
    all of a command is in memory. `done` is that: a task leaves the engine before, so that the next one need not wait.

    Word w of token t of the round is beat w * T + t; rounds of a row follow each other, `start` words of each token
    before this one's, and passes follow each other, `row_words` for each token.
    """

    def body(m: Module) -> dict[str, Signal]:
        over = Wire(1)
        moves = m["y_valid"] & m["out_ready"]
        task = stepped_task(m, "save", words_then_tokens(config), moves, latency=over.signal)
        f = task.fields
        before = words_of_tokens(m, f["position"], config.position_bits, f["row_words"], "rows_skipped")
        before = before + words_of_tokens(m, f["tokens"], bits_for(config.tokens + 1), f["start"], "words_skipped")
        command, sent = transfer(m, task.busy, f, before[0:WORDS_BITS], config.save_bits, config.tokens)
        moved = m.state(1, "all_moved", reset=0)
        moved.set(task.busy & (moved.signal | task.finish))
        over.assign(moved.signal & sent)
        lanes = [lane.sext(SAVE_BITS) for lane in m["y_data"].chunks(config.y_bits)]
        return command | dict(
            task_ready=task.ready,
            y_ready=task.going & m["out_ready"],
            out_valid=task.going & m["y_valid"],
            out_data=pack(lanes),
            done=m["written"],
        )

    inputs = task_inputs("save") | {"y_valid": 1, "y_data": config.word_bits("y"), "out_ready": 1, "command_ready": 1}
    outputs = {"task_ready": 1, "y_ready": 1, "out_valid": 1, "out_data": config.save_bits, **TRANSFER_PORTS}
    return design.module("save", inputs | {"written": 1}, outputs | {"done": 1}, body)
