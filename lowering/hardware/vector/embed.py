"""Engine embed: the embedding of each token of the pass, read from memory, as stream e."""

from lutllm.lowering.hardware.control.task import Steps, stepped_task, task_inputs, token_count
from lutllm.lowering.hardware.lib.arithmetic import rounded_later
from lutllm.lowering.hardware.lib.axi import BEATS_BITS
from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, Wire, const, credit, delay, loop_nest, mux, pack
from lutllm.lowering.hardware.lib.memory import Stream, buffered
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.numerics import bits_for
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
    """Stream in: `task`, `row` (beats of the reader of port e). Reads token ids at `ids_read*`, a cycle later. Streams
    out: `command` of the reader, `e`. `bad_token` pulses for an id outside the vocabulary, which counts as 0.

    A row in memory is a beat with the multiplier, then `words` beats of channels.
    """

    def body(m: Module) -> dict[str, Signal]:
        done, room = Wire(1), Wire(1)
        task = stepped_task(m, "embed", lambda f: [("token", token_count(config, f))], room.signal, latency=done.signal)
        command, bad = _commands(m, config, task, room)
        out, row_ready = _words(m, config, task)
        out.ready.assign(m["e_ready"])
        width = config.word_bits("r")
        done.assign(out.valid & m["e_ready"] & out.data[width])
        position = config.position_bits
        return dict(
            task_ready=task.ready,
            ids_read=task.fire,
            ids_read_address=task.fields["position"][0:position] + task.index["token"].zext(32)[0:position],
            command_valid=command.valid,
            command_address=command.data,
            command_beats=_row_beats(task).zext(BEATS_BITS),
            row_ready=row_ready,
            e_valid=out.valid,
            e_data=out.data[0:width],
            bad_token=bad,
            done=task.done,
        )

    inputs = task_inputs("embed") | {"ids_read_data": ID_BITS, "command_ready": 1}
    inputs |= {"row_valid": 1, "row_data": config.e_bits, "e_ready": 1}
    outputs = {"task_ready": 1, "ids_read": 1, "ids_read_address": config.position_bits}
    outputs |= {"command_valid": 1, "command_address": 64, "command_beats": BEATS_BITS, "row_ready": 1}
    outputs |= {"e_valid": 1, "e_data": config.word_bits("r"), "bad_token": 1, "done": 1}
    return design.module("embed", inputs, outputs, body)


def _row_beats(task: Steps) -> Signal:
    return task.fields["words"].zext(17) + 1


def _commands(m: Module, config: AcceleratorConfig, task: Steps, room: Wire) -> tuple[Stream, Signal]:
    """The address of each token's row: address + id * beats * bytes of a beat. And a pulse for an id too large."""
    pop, depth = Wire(1), rows_depth(config)
    room.assign(credit(m, "room", bits_for(depth + 1), give=pop.signal, take=task.fire, initial=depth))
    token = m.reg(m["ids_read_data"], "id")
    bad = ~token.ult(task.fields["vocabulary"])
    known = m.reg(mux(bad, const(0, ID_BITS), token), "known_id")
    beats = m.reg(_row_beats(task), "row_beats")
    skipped = delay(m, known.zext(ID_BITS + 17) * beats.zext(ID_BITS + 17), 2, "rows_skipped")
    byte_bits = (config.lanes - 1).bit_length()
    address = m.reg(task.fields["address"] + pack([const(0, byte_bits), skipped]).zext(64), "row_address")
    commands, _ = buffered(m, "commands", delay(m, task.fire, COMMAND_LATENCY, "command", reset=0), address, depth)
    commands.ready.assign(m["command_ready"])
    pop.assign(commands.valid & m["command_ready"])
    return commands, m.reg(bad & delay(m, task.fire, 2, "id_valid", reset=0), "bad_token_q", reset=0)


def _words(m: Module, config: AcceleratorConfig, task: Steps) -> tuple[Stream, Signal]:
    """Rows times their multipliers; returns the words, with a bit for the last of the task, and the rows' ready."""
    fire, pop, depth = Wire(1), Wire(1), e_depth(config)
    levels = [("row", token_count(config, task.fields)), ("beat", _row_beats(task))]
    _, last, at_first = loop_nest(m, fire.signal, levels)
    is_multiplier = at_first["beat"]
    word = fire.signal & ~is_multiplier
    room = credit(m, "word_room", bits_for(depth + 1), give=pop.signal, take=word, initial=depth)
    over, finish = m.state(1, "rows_over", reset=0), word & last["row"] & last["beat"]
    over.set(task.busy & (over.signal | finish))
    ready = task.busy & ~over.signal & (is_multiplier | room)
    fire.assign(ready & m["row_valid"])

    given = m.reg(m["row_data"][0:MULTIPLIER_BITS], "multiplier", enable=fire.signal & is_multiplier)
    multiplier = m.reg(given, "multiplier_q").sext(_SCALED_BITS)
    lanes = []
    for i, channel in enumerate(m.reg(m["row_data"], "row_q").chunks(8)):
        scaled = delay(m, channel.sext(_SCALED_BITS) * multiplier, 2, f"scaled_{i}")
        # 24 bits: there is nothing to clamp.
        lanes.append(rounded_later(m, scaled, task.fields["shift"], f"shifted_{i}").sext(RESIDUAL_BITS))
    late = delay(m, pack([word, finish]), WORD_LATENCY, "word", reset=0)
    out, _ = buffered(m, "words", late[0], pack([*lanes, late[1]]), depth)
    pop.assign(out.valid & m["e_ready"])
    return out, ready
