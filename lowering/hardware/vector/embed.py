"""Engine embed: the embedding of each token of the pass, or of its position, read from memory, as stream e."""

from typing import Any

from lutllm.lowering.hardware.control.records import task_port, words
from lutllm.lowering.hardware.control.task import Steps, stepped_task, token_count
from lutllm.lowering.hardware.lib.arithmetic import rounded_later
from lutllm.lowering.hardware.lib.axi import BEATS_BITS, commands
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, const, mux, pack
from lutllm.lowering.hardware.lib.state import credit, loop_nest
from lutllm.lowering.hardware.lib.stream import Read, Stream
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.quantization import RESIDUAL_BITS
from lutllm.scheme import MULTIPLIER_BITS

ID_BITS = 32
COMMAND_DEPTH = 4  # rows asked for ahead; each takes many beats
FIFO_DEPTH = 6  # a word's room comes back after six cycles at the earliest
COMMAND_LATENCY = 6  # cycles from a token's step to its row's address
WORD_LATENCY = 4  # cycles from a beat of a row to its word
_SCALED_BITS = 8 + MULTIPLIER_BITS


def rows_depth(config: AcceleratorConfig) -> int:
    return config.depths.get("rows", COMMAND_DEPTH)


def e_depth(config: AcceleratorConfig) -> int:
    return config.depths.get("e", FIFO_DEPTH)


def embed(design: Design, config: AcceleratorConfig) -> str:
    """Stream in: `task`, `row` (beats of the reader of port e). Reads token ids. Streams out: `command` of the reader,
    `e`. `bad_token` pulses for an id outside the vocabulary, which counts as 0.

    A row in memory is a beat with the multiplier, then `words` beats of channels. In mode positions a task may have
    its rows by `positions`, from number `first` on, in place of token ids.
    """

    def body(m: Module) -> dict[str, Any]:
        done, room = Wire(1), Wire(1)
        task = stepped_task(
            m, config, "embed", lambda f: [("token", token_count(config, f))], room.signal, latency=done.signal
        )
        bits = config.position_bits
        position = task.fields["position"][0:bits] + task.index["token"].zext(32)[0:bits]
        ids = Read(task.pipe.at(position), ID_BITS, task.step)
        found = ids.data
        if "positions" in config.modes:
            row = position.zext(ID_BITS) + task.fields["first"]
            found = mux(task.fields["positions"][0], task.pipe.at(row), found)
        command, bad = _commands(m, config, task, found, room)
        out = _words(m, config, task)
        done.assign(out.moves & out.last)
        return dict(ids_read=ids, command=command, e=out.carrying(data=out.data), bad_token=bad, done=task.done)

    outputs = {"ids_read": Read.of(config.position_bits, ID_BITS), "command": commands(), "e": words(config, "r")}
    inputs = {"task": task_port(config, "embed"), "row": Stream.of(config.e_bits)}
    return design.module("embed", inputs, outputs | {"bad_token": 1, "done": 1}, body)


def _row_beats(task: Steps) -> Signal:
    return task.fields["words"].zext(17) + 1


def _commands(m: Module, config: AcceleratorConfig, task: Steps, found: Signal, room: Wire) -> tuple[Stream, Signal]:
    """The address of each token's row: address + id * beats * bytes of a beat. And a pulse for an id too large."""
    pop, depth = Wire(1), rows_depth(config)
    room.assign(credit(m, "room", depth, give=pop.signal, take=task.fire, initial=depth))
    token = m.reg(found, "id")
    bad = ~token.ult(task.fields["vocabulary"])
    known = m.reg(mux(bad, const(0, ID_BITS), token), "known_id")
    beats = m.reg(_row_beats(task), "row_beats")
    skipped = m.reg(known.zext(ID_BITS + 17) * beats.zext(ID_BITS + 17), "rows_skipped", cycles=2)
    byte_bits = (config.lanes - 1).bit_length()
    address = m.reg(task.fields["address"] + pack([const(0, byte_bits), skipped]).zext(64), "row_address")
    rows = Stream(task.step, data=address.due(COMMAND_LATENCY)).fifo(m, "commands", depth)
    pop.assign(rows.moves)
    command = rows.carrying(address=rows.data, beats=beats.zext(BEATS_BITS))
    return command, m.reg(bad & task.step, "bad_token_q")


def _words(m: Module, config: AcceleratorConfig, task: Steps) -> Stream:
    """Rows times their multipliers: words, `last` that of the task."""
    row, pop, depth, pipe = m["row"], Wire(1), e_depth(config), m.pipeline()
    fire = row.moves
    levels = [("row", token_count(config, task.fields)), ("beat", _row_beats(task))]
    _, last, at_first = loop_nest(m, fire, levels)
    is_multiplier = at_first["beat"]
    word = fire & ~is_multiplier
    room = credit(m, "word_room", depth, give=pop.signal, take=word, initial=depth)
    finish = word & last["row"] & last["beat"]
    over = m.since("rows_over", finish, task.busy)
    row.drive(ready=task.busy & ~over & (is_multiplier | room))

    given = m.reg(row.data[0:MULTIPLIER_BITS], "multiplier", enable=fire & is_multiplier)
    multiplier = m.reg(pipe.at(given), "multiplier_q").sext(_SCALED_BITS)
    lanes = []
    for i, channel in enumerate(m.reg(pipe.at(row.data), "row_q").chunks(8)):
        scaled = m.reg(channel.sext(_SCALED_BITS) * multiplier, f"scaled_{i}", cycles=2)
        # 24 bits: there is nothing to clamp.
        lanes.append(rounded_later(m, scaled, task.fields["shift"], f"shifted_{i}").sext(RESIDUAL_BITS))
    made = Stream(pipe.valid(word), data=pack(lanes).due(WORD_LATENCY), last=pipe.valid(finish))
    out = made.fifo(m, "words", depth)
    pop.assign(out.moves)
    return out
