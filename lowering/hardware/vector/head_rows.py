"""The commands that write keys and values: the rows of all tokens of the pass, for each head one. Where rows are spread
over several ports of attention, one for each part of a row."""

from typing import Any

from lutllm.lowering.hardware.control.task import settled
from lutllm.lowering.hardware.lib.axi import BEATS_BITS, commands
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, all_of, const, mux, pack
from lutllm.lowering.hardware.lib.state import Levels, Nest, loop_nest
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
    word_bytes, low, shared = config.lanes * CACHE_BITS // 8, _log2(config.attention_rows), _log2(config.row_parts)
    word_shift, beat_shift = _log2(word_bytes), _log2(config.kv_words)

    def body(m: Module) -> dict[str, Any]:
        run = m["run"]
        skipped = _times(m["position"][low:], config.position_bits - low, m["head_words"])
        skipped = m.reg(skipped, "skipped")[shared:]
        base = m["address"] + pack([const(0, word_shift), skipped]).zext(64)
        if low:
            base = base + m.reg(_times(m["position"], low, m["head_stride"][low:]), "turned").zext(64)
        base = m.reg(base, "base")
        words = m.reg(_times(m["tokens"], bits_for(config.tokens + 1), m["head_words"]), "words")
        beats = words[beat_shift:].zext(BEATS_BITS)

        levels: Levels = [("head", m["heads"])]
        if config.attention_ports > 1:
            part_words = config.part_bits // CACHE_BITS // config.lanes
            levels = [*levels, ("token", m["tokens"]), ("part", m["head_words"][_log2(part_words) :])]
            beats = const(config.part_bits // config.kv_bits, BEATS_BITS)
        over, place = Wire(1), Wire(64)
        command = Stream(settled(m, run, SETTLE, "settled") & ~over.signal, address=place.signal, beats=beats)
        nest = loop_nest(m, command.moves, levels)
        address = _next(m, "head", nest, base, m["head_stride"].zext(64), command.moves)
        if config.attention_ports > 1:
            address = _address_of_part(m, config, nest, address, command.moves)
        place.assign(address)
        over.assign(m.since("over", all_of([command.moves, *nest.last.values()]), run))
        _, written, _ = loop_nest(m, run & m["written"], [(f"written_{name}", count) for name, count in levels])
        finished = all_of([run, m["written"], *written.values()])
        return dict(command=command, finished=m.reg(finished, "finished_q", cycles=FINISHED, reset=0))

    inputs = {"run": 1, **ROWS_BITS, "written": 1}
    return design.module("head_rows", inputs, {"command": commands(), "finished": 1}, body)


def _times(value: Signal, bits: int, words: Signal) -> Signal:
    """The product of the low `bits` of `value`, all that are in use, and a number of words."""
    width = bits + words.width
    return value[0:bits].zext(width) * words.zext(width)


def _next(m: Module, level: str, nest: Nest, first: Signal, step: Signal, accepted: Signal) -> Signal:
    """An address at a level of the commands: `first`, and `step` further when all inside the level is over."""
    reached = m.state(64, f"{level}_reached")
    address = mux(nest.first[level], first, reached.signal)
    names = list(nest.last)
    ended = [nest.last[name] for name in names[names.index(level) + 1 :]]
    reached.set(address + step, all_of([accepted, *ended]))
    return address


def _address_of_part(m: Module, config: AcceleratorConfig, nest: Nest, head: Signal, accepted: Signal) -> Signal:
    """See `AcceleratorConfig.row_places`: a row's parts are a port apart, rows of a group `row_parts` ports."""
    low, shared = _log2(config.attention_rows), _log2(config.row_parts)
    port, row = (m["head_stride"][shift:].zext(64) for shift in (low + shared, low))
    row_bytes = pack([const(0, _log2(config.lanes * CACHE_BITS // 8)), m["head_words"]])[shared:].zext(64)
    group = m.reg(row_bytes + row - m["head_stride"].zext(64), "to_next_group")
    beat = m.reg(port + config.part_bits // 8 - row, "to_next_beat")
    step, on = group, beat
    if low:
        number = m["position"][0:low] + nest.at["token"][0:low]
        step = mux(number.eq(config.attention_rows - 1), group, row)
    if shared:
        on = mux(nest.at["part"][0:shared].eq(config.row_parts - 1), beat, port)
    first = _next(m, "token", nest, head, step, accepted)
    return _next(m, "part", nest, first, on, accepted)


def _log2(power: int) -> int:
    return power.bit_length() - 1
