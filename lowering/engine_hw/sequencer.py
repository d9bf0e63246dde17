"""The sequencer: reads descriptors from memory and hands each round to every unit at once.

Rounds of one row source follow each other without a gap: units take the next round when they are through with theirs.
When the row source changes it waits until all results are written and resets the datapath's ping-pong state (`flush`).
"""

from lutllm.lowering.circt import (
    Design,
    Module,
    Signal,
    all_of,
    any_of,
    const,
    loop_nest,
    mux,
    pack,
)
from lutllm.lowering.engine import DESCRIPTOR_PORT_BITS, MODES, ROUND_MAGIC, EngineConfig
from lutllm.lowering.engine_hw.records import ROUND

ERRORS = ("none", "descriptor", "row_source", "tokens", "memory_read", "memory_write")  # codes of the `error` output
READ_ERROR, WRITE_ERROR = ERRORS.index("memory_read"), ERRORS.index("memory_write")


def sequencer(design: Design, config: EngineConfig) -> str:
    """Host side: `start`, `program_address`, `program_length` (rounds) in; `busy`, `done`, `error` out. `done` stands
    until the next start, `error` until reset: units may hold parts of rounds then, so another start ends at once.
    Stream `command` asks for the descriptors, stream `d` brings them. `dispatch` presents `descriptor` to all units,
    which are ready when `all_ready`. `written`: a round's results are in memory.
    """
    words = config.descriptor_words

    def body(m: Module) -> dict[str, Signal]:
        busy, left, held = (
            m.state(1, "busy_q", reset=0),
            m.state(32, "rounds_left", reset=0),
            m.state(1, "held", reset=0),
        )
        asked, done = m.state(1, "asked", reset=0), m.state(1, "done_q", reset=0)
        error, running = m.state(8, "error_q", reset=0), m.state(8, "rounds_running", reset=0)
        start = m["start"] & ~busy.signal
        address = m.reg(m["program_address"], "address", enable=start)
        length = m.reg(m["program_length"], "length", enable=start)
        take = busy.signal & m["d_valid"] & ~held.signal
        _, last = loop_nest(m, take, [("word", const(words, 16))])
        complete = take & last["word"]
        descriptor = _shift_register(m, m["d_data"], take, words)
        fields = ROUND.unpack(descriptor[0 : ROUND.width])

        mode = m.state(8, "mode", reset=0xFF)
        idle = running.signal.eq(0)
        change = held.signal & fields["mode"].ne(mode.signal)
        problem = _problem(config, fields)
        valid = held.signal & problem.eq(0)
        flush = valid & change & idle & ~start
        mode.set(fields["mode"], flush)
        dispatch = all_of([busy.signal, valid, ~change, m["all_ready"], running.signal.ne(0xFF)])
        held.set(complete | (held.signal & ~dispatch & ~start), None)
        running.set(running.signal + mux(dispatch, const(1, 8), const(-1, 8)), dispatch ^ m["written"])
        left.set(mux(start, m["program_length"], left.signal - 1), start | dispatch)

        code = mux(held.signal, problem, const(0, 8))
        code = mux(m["read_error"], const(READ_ERROR, 8), mux(m["write_error"], const(WRITE_ERROR, 8), code))
        code = mux(error.signal.eq(0), code, error.signal)
        failed = busy.signal & code.ne(0)
        finished = busy.signal & (failed | (left.signal.eq(0) & idle & ~held.signal))
        error.set(code, failed)
        busy.set(start | (busy.signal & ~finished), None)
        done.set(~start & (done.signal | finished), None)
        command = all_of([busy.signal, ~asked.signal, length.ne(0), error.signal.eq(0)])
        asked.set(~start & (asked.signal | (command & m["command_ready"])), None)
        beats = _times(length, words)
        return dict(
            busy=busy.signal,
            done=done.signal,
            error=error.signal,
            command_valid=command,
            command_address=address,
            command_beats=beats,
            d_ready=busy.signal & ~held.signal,
            descriptor=descriptor,
            dispatch=dispatch,
            flush=flush,
        )

    inputs = {"start": 1, "program_address": 64, "program_length": 32, "command_ready": 1, "d_valid": 1}
    inputs |= {"d_data": DESCRIPTOR_PORT_BITS, "all_ready": 1, "written": 1, "read_error": 1, "write_error": 1}
    outputs = {"busy": 1, "done": 1, "error": 8, "command_valid": 1, "command_address": 64, "command_beats": 32}
    outputs |= {"d_ready": 1, "descriptor": words * DESCRIPTOR_PORT_BITS, "dispatch": 1, "flush": 1}
    return design.module("sequencer", inputs, outputs, body)


def _shift_register(m: Module, word: Signal, enable: Signal, words: int) -> Signal:
    """The last `words` words, the oldest lowest."""
    parts: list[Signal] = []
    for i in range(words):
        parts.insert(0, m.reg(parts[0] if parts else word, f"descriptor_{words - 1 - i}", enable=enable))
    return pack(parts)


def _times(value: Signal, factor: int) -> Signal:
    """value * factor by shifts and adds."""
    bits = [value << i for i in range(factor.bit_length()) if factor >> i & 1]
    total = bits[0]
    for term in bits[1:]:
        total = total + term
    return total


def _problem(config: EngineConfig, fields: dict[str, Signal]) -> Signal:
    """The error code of a descriptor, 0 if this engine can run it."""
    magic = fields["magic"].ne(ROUND_MAGIC)
    modes = [MODES.index(source) for source in config.row_sources]
    unknown = ~any_of([fields["mode"].eq(mode) for mode in modes])
    tokens = fields["tokens"]
    too_many = tokens.eq(0) | const(config.tokens, 16).ult(tokens)
    empty = any_of([fields[name].eq(0) for name in ("groups", "stages", "blocks", "block_chunks", "last_chunks")])
    code = mux(too_many, const(ERRORS.index("tokens"), 8), const(0, 8))
    code = mux(unknown, const(ERRORS.index("row_source"), 8), code)
    return mux(magic | empty, const(ERRORS.index("descriptor"), 8), code)
