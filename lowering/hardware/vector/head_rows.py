"""The commands that write keys and values: for each head one, the rows of all tokens of the pass."""

from lutllm.lowering.hardware.lib.axi import BEATS_BITS
from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, all_of, const, delay, loop_nest, mux, pack
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

    def body(m: Module) -> dict[str, Signal]:
        settled = run = m["run"]
        for i in range(SETTLE):
            settled = settled & m.reg(settled, f"settled_{i}", reset=0)
        skipped = m.reg(_times(m["position"], config.position_bits, m["head_words"]), "skipped")
        base = m.reg(m["address"] + pack([const(0, word_shift), skipped]).zext(64), "base")
        words = m.reg(_times(m["tokens"], bits_for(config.tokens + 1), m["head_words"]), "words")

        over = m.state(1, "over", reset=0)
        valid = settled & ~over.signal
        accepted = valid & m["command_ready"]
        _, last, at_first = loop_nest(m, accepted, [("command", m["heads"])])
        reached = m.state(64, "reached")
        address = mux(at_first["command"], base, reached.signal)
        reached.set(address + m["head_stride"].zext(64), accepted)
        over.set(run & (over.signal | (accepted & last["command"])))
        _, written, _ = loop_nest(m, run & m["written"], [("written", m["heads"])])
        return dict(
            command_valid=valid,
            command_address=address,
            command_beats=words[beat_shift:].zext(BEATS_BITS),
            finished=delay(m, all_of([run, m["written"], written["written"]]), FINISHED, "finished_q", reset=0),
        )

    inputs = {"run": 1, **ROWS_BITS, "command_ready": 1, "written": 1}
    outputs = {"command_valid": 1, "command_address": 64, "command_beats": BEATS_BITS, "finished": 1}
    return design.module("head_rows", inputs, outputs, body)


def _times(value: Signal, bits: int, words: Signal) -> Signal:
    """The product of the low `bits` of `value`, all that are in use, and a number of words."""
    width = bits + words.width
    return value[0:bits].zext(width) * words.zext(width)
