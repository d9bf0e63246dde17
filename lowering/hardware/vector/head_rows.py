"""The commands that write keys and values: for each head one, the rows of all tokens of the pass."""

from typing import Any

from lutllm.lowering.hardware.control.task import settled
from lutllm.lowering.hardware.lib.axi import BEATS_BITS, commands
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, all_of, const, mux, pack
from lutllm.lowering.hardware.lib.state import loop_nest
from lutllm.lowering.hardware.lib.stream import Stream
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.numerics import bits_for
from lutllm.quantization import CACHE_BITS

ROWS_BITS = {"heads": 16, "tokens": 16, "position": 32, "head_words": 8, "head_stride": 32, "address": 64}
FINISHED = 1  # cycles from the last command's `written` to `finished`
SETTLE = 3  # cycles from the first of `run` until products and sum are in registers


def head_rows(design: Design, config: AcceleratorConfig) -> str:
    """While `run`, with the task's fields steady: stream `command` (address, beats) of the rows `position`.. of every
    head. `written` pulses when all of a command is in memory; `finished` follows the last one by a cycle. `run` falls
    between two tasks."""
    word_bytes = config.lanes * CACHE_BITS // 8
    word_shift, beat_shift = (word_bytes - 1).bit_length(), config.kv_words.bit_length() - 1

    def body(m: Module) -> dict[str, Any]:
        run = m["run"]
        skipped = m.reg(_times(m["position"], config.position_bits, m["head_words"]), "skipped")
        base = m.reg(m["address"] + pack([const(0, word_shift), skipped]).zext(64), "base")
        words = m.reg(_times(m["tokens"], bits_for(config.tokens + 1), m["head_words"]), "words")

        over, reached, address = Wire(1), m.state(64, "reached"), Wire(64)
        valid = settled(m, run, SETTLE, "settled") & ~over.signal
        command = Stream(valid, address=address.signal, beats=words[beat_shift:].zext(BEATS_BITS))
        index, last = loop_nest(m, command.moves, [("command", m["heads"])])
        address.assign(mux(index["command"].eq(0), base, reached.signal))
        reached.set(address.signal + m["head_stride"].zext(64), command.moves)
        over.assign(m.since("over", command.moves & last["command"], run))
        _, written = loop_nest(m, run & m["written"], [("written", m["heads"])])
        finished = all_of([run, m["written"], written["written"]])
        return dict(command=command, finished=m.reg(finished, "finished_q", cycles=FINISHED, reset=0))

    inputs = {"run": 1, **ROWS_BITS, "written": 1}
    return design.module("head_rows", inputs, {"command": commands(), "finished": 1}, body)


def _times(value: Signal, bits: int, words: Signal) -> Signal:
    """The product of the low `bits` of `value`, all that are in use, and a number of words."""
    width = bits + words.width
    return value[0:bits].zext(width) * words.zext(width)
