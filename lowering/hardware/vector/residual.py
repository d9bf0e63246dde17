"""Engine residual: the residual stream in memory r, plus what a linear or its norm adds to it, or an embedding to begin
with."""

from collections.abc import Callable
from typing import Any

from lutllm.lowering.hardware.control.records import reads, task_port, words, writes
from lutllm.lowering.hardware.control.task import (
    ORIGIN_CYCLES,
    Steps,
    TaskFields,
    Timing,
    origin,
    stepped_task,
    token_count,
)
from lutllm.lowering.hardware.lib.arithmetic import rescaled_later, saturated
from lutllm.lowering.hardware.lib.bundle import Bundle, Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import stored
from lutllm.lowering.hardware.lib.signal import Signal, aligned, const, mux, pack
from lutllm.lowering.hardware.lib.state import Levels
from lutllm.lowering.hardware.lib.stream import Read, Stream, Write
from lutllm.lowering.machine.accelerator import LEFT, AcceleratorConfig
from lutllm.numerics import bits_for
from lutllm.quantization import NORM_BITS, RESIDUAL_BITS

SQUARE_BITS = 2 * RESIDUAL_BITS
SUM_BITS = 64  # of squares: dialect verifiers hold a row to 62 bits
TOTAL_BITS = RESIDUAL_BITS + 18  # of a row of up to 2**17 channels, signed
TIMING = Timing(first=ORIGIN_CYCLES, last=9)
READ_AFTER = 1  # cycles after `done` that sums are there: no task that reads them begins so soon


def squares_port(config: AcceleratorConfig) -> Bundle:
    """A port that reads the sum of the squares of a token's row, at once."""
    return Read.of(config.token_bits, SUM_BITS, enable=False)


def totals_port(config: AcceleratorConfig) -> Bundle:
    """A port that reads the sum of a token's row, at once."""
    return Read.of(config.token_bits, TOTAL_BITS, enable=False)


def residual(design: Design, config: AcceleratorConfig) -> str:
    """Streams in: `task`, `y`, `e`. Drives both ports of memory r, and answers at `squares_read`.

    Words come from y with the tokens inside, or from e (`load`) token after token, which replaces the row, or in mode
    positions is `added` to it. In mode norm_after also from n (`normed`), as from y; and those of y go to memory y,
    whose row `base` is (`aside`).
    """
    lane, after = _lane(design, config), "norm_after" in config.modes
    bits = max(config.address_bits("r"), config.address_bits("y") if after else 0)

    def body(m: Module) -> dict[str, Any]:
        y, e = m["y"], m["e"]

        def allowed(fields: TaskFields) -> Signal:
            added = mux(fields["normed"][0], m["n"].valid, y.valid) if after else y.valid
            return mux(fields["load"][0], e.valid, added)

        task = stepped_task(m, config, "residual", _levels(config), allowed, after=TIMING.first, latency=TIMING.last)
        f, load, pipe = task.fields, task.fields["load"][0], task.pipe
        taken = task.going & ~load
        if after:
            normed, stays = f["normed"][0], ~f["aside"][0]
            m["n"].drive(ready=taken & normed)
            taken = taken & ~normed
        y.drive(ready=taken)
        e.drive(ready=task.going & load)
        place = origin(m, f, None, bits) + _offset(m, task, bits)
        fresh = load & ~f["added"][0] if "positions" in config.modes else load
        address, moved = pipe.at(place)[0 : config.address_bits("r")], task.step & ~fresh
        read = Read(address, config.word_bits("r"), moved & stays if after else moved)
        # To load is to add an embedding at its own exponent to nothing.
        shared = dict(load=fresh, right=f["residual_right"], y_right=mux(fresh, const(LEFT, 8), f["y_right"]))
        wide, lanes = _added_bits(config), []
        terms = [read.data.chunks(RESIDUAL_BITS), e.data.chunks(RESIDUAL_BITS), y.data.chunks(config.y_bits)]
        if after:
            both = zip(m["n"].data.chunks(NORM_BITS), terms[2], strict=True)
            terms[2] = [mux(normed, n, x.sext(NORM_BITS)) for n, x in both]
        for i, (row, loaded, added) in enumerate(zip(*terms, strict=True)):
            added = pipe.at(mux(load, loaded.sext(wide), added.sext(wide)))
            lanes.append(m.instance(lane, f"lane_{i}", r=row, y=added, **shared))
        squares = [made["square"].zext(SQUARE_BITS + bits_for(config.lanes)) for made in lanes]
        squares = [m.reg(_tree(squares[i : i + 8]), f"squares_{i}") for i in range(0, len(squares), 8)]
        total = m.reg(_tree(squares), "squares")
        task.ends(total, READ_AFTER)
        m["squares_read"].drive(data=_accumulate(m, config, task, total.zext(SUM_BITS), "sums", "squares_read"))
        if "totals_read" in inputs:
            row = [made["new"].sext(TOTAL_BITS) for made in lanes]
            row = [m.reg(_tree(row[i : i + 8]), f"totals_{i}") for i in range(0, len(row), 8)]
            words_ = m.reg(_tree(row), "totals").until(total.cycle)
            m["totals_read"].drive(data=_accumulate(m, config, task, words_, "totals", "totals_read"))
        enable = task.step & stays if after else task.step
        out = dict(r_read=read, r_write=Write(enable, address, pack([made["new"] for made in lanes])), done=task.done)
        if after:
            row = m.reg(pipe.at(place), "place_q") + f["base"].zext(max(16, bits))[0:bits]
            words_ = pack([made["new"][0 : config.y_bits] for made in lanes])
            out["y_write"] = Write(task.step & f["aside"][0], row[0 : config.address_bits("y")], words_)
        return out

    inputs = {"task": task_port(config, "residual"), "y": words(config, "y"), "e": words(config, "r")}
    outputs = {"r_read": reads(config, "r"), "r_write": writes(config, "r"), "done": 1}
    if after:
        inputs |= {"n": Stream.of(config.lanes * NORM_BITS)}
        outputs |= {"y_write": writes(config, "y")}
    inputs |= {"squares_read": squares_port(config)}
    if "layer_norm" in config.modes:
        inputs |= {"totals_read": totals_port(config)}
    return design.module("residual", inputs, outputs, body)


def _added_bits(config: AcceleratorConfig) -> int:
    """Of a channel of what is added."""
    return max(RESIDUAL_BITS, config.y_bits, NORM_BITS if "norm_after" in config.modes else 0)


def _lane(design: Design, config: AcceleratorConfig) -> str:
    """A channel: the old `r`, or nothing to `load`, and `y`, at `right` and `y_right`."""

    def body(m: Module) -> dict[str, Signal]:
        r = m.reg(mux(m["load"], const(0, RESIDUAL_BITS), m["r"]), "r_q")
        wide = m["y"].width + LEFT + 1  # both terms at most LEFT wider than y, and their carry
        a = rescaled_later(m, r, m["right"], "r_shifted").sext(wide)
        b = rescaled_later(m, m["y"], m["y_right"], "y_shifted").sext(wide)
        new = m.reg(saturated(m.reg(a + b, "sum"), RESIDUAL_BITS), "new")
        square = m.reg(new.sext(SQUARE_BITS) * new.sext(SQUARE_BITS), "square", cycles=2)
        return dict(new=new, square=square)

    inputs = {"r": RESIDUAL_BITS, "y": _added_bits(config), "load": 1, "right": 8, "y_right": 8}
    outputs = {"new": RESIDUAL_BITS, "square": SQUARE_BITS}
    return design.pipeline("residual_lane", inputs, outputs, body, steady=("load", "right", "y_right"))


def _levels(config: AcceleratorConfig) -> Callable[[TaskFields], Levels]:
    """(word, token) for stream y, (token, word) for stream e."""

    def levels(f: TaskFields) -> Levels:
        load, tokens = f["load"][0], token_count(config, f).zext(16)
        return [("outer", mux(load, tokens, f["words"])), ("inner", mux(load, f["words"], tokens))]

    return levels


def _offset(m: Module, task: Steps, bits: int) -> Signal:
    """w * T + t in either order: `line` holds where the outer index began."""
    load, tokens = task.fields["load"][0], task.fields["tokens"][0:bits]
    one, zero = const(1, bits), const(0, bits)
    line, place = m.state(bits, "line", reset=0), m.state(bits, "place", reset=0)
    next_line = line.signal + mux(load, one, tokens)
    following = mux(task.last["inner"], next_line, place.signal + mux(load, tokens, one))
    line.set(mux(task.busy, next_line, zero), (task.fire & task.last["inner"]) | ~task.busy)
    return place.set(mux(task.busy, following, zero), task.fire | ~task.busy)


def _accumulate(m: Module, config: AcceleratorConfig, task: Steps, squares: Signal, name: str, port: str) -> Signal:
    """Add a word's squares to its token's sum, which the row's first word starts anew; returns the sum that `port` asks
    for.

    Read, added and written in one cycle, so that words of one token may follow each other. The sums stand in two RAMs,
    a read port each.
    """
    load, at = task.fields["load"][0], task.pipe.at
    token = mux(load, task.index["outer"], task.index["inner"])[0 : config.token_bits]
    first = mux(load, task.index["inner"], task.index["outer"]).eq(0) & task.fields["start"].eq(0)
    now = aligned(task.step, at(token), at(first), squares)
    step, token, first, squares = (signal.plain() for signal in now)
    before = Wire(squares.width)
    write = (step, token, squares + mux(first, const(0, squares.width), before.signal))
    before.assign(stored(m, name, config.tokens, write=write, read=token))
    return stored(m, f"{name}_for_norm", config.tokens, write=write, read=m[port].address)


def _tree(terms: list[Signal]) -> Signal:
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=True)]
    return terms[0]
