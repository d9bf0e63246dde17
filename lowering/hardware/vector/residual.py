"""Engine residual: the residual stream in memory r, plus what a linear adds to it, or an embedding to begin with."""

from collections.abc import Callable

from lutllm.lowering.hardware.control.task import (
    ORIGIN_CYCLES,
    Steps,
    TaskFields,
    Timing,
    origin,
    stepped_task,
    task_inputs,
    token_count,
)
from lutllm.lowering.hardware.lib.arithmetic import rescaled_later, saturated
from lutllm.lowering.hardware.lib.circt import Design, Levels, Module, Signal, Wire, const, delay, mux, pack
from lutllm.lowering.hardware.lib.memory import ram
from lutllm.lowering.machine.accelerator import LEFT, AcceleratorConfig
from lutllm.numerics import bits_for
from lutllm.quantization import RESIDUAL_BITS

SQUARE_BITS = 2 * RESIDUAL_BITS
SUM_BITS = 64  # of squares: dialect verifiers hold a row to 62 bits
_SUM = 4  # cycles from a step to its sums, one more to the new words
_NEW = _SUM + 1
_SQUARES = _NEW + 3  # to the sum of a word's squares
TIMING = Timing(first=ORIGIN_CYCLES, last=_SQUARES + 1)


def residual(design: Design, config: AcceleratorConfig) -> str:
    """Streams in: `task`, `y`, `e`. Drives both ports of memory r. In `squares_read_address`: a token; out
    `squares_read_data`: the sum of the squares of its row, at once.

    Words come from y with the tokens inside, or from e (`load`) token after token, which replaces the row.
    """
    bits, width = config.address_bits("r"), config.word_bits("r")
    lane = _lane(design, config)

    def allowed(m: Module, fields: TaskFields) -> Signal:
        return mux(fields["load"][0], m["e_valid"], m["y_valid"])

    def body(m: Module) -> dict[str, Signal]:
        levels = _levels(config)
        task = stepped_task(m, "residual", levels, lambda f: allowed(m, f), after=TIMING.first, latency=TIMING.last)
        f, load = task.fields, task.fields["load"][0]
        address = origin(m, f, None, bits) + _offset(m, task, bits)
        shared = dict(load=load, residual_right=f["residual_right"], y_right=f["y_right"])
        lanes = [
            m.instance(lane, f"lane_{i}", r=r, e=e, y=y, **shared)
            for i, (r, e, y) in enumerate(
                zip(
                    m["r_read_data"].chunks(RESIDUAL_BITS),
                    m["e_data"].chunks(RESIDUAL_BITS),
                    m["y_data"].chunks(config.y_bits),
                    strict=True,
                )
            )
        ]
        total = _tree([made["square"].zext(SQUARE_BITS + bits_for(config.lanes)) for made in lanes])
        return dict(
            task_ready=task.ready,
            y_ready=task.going & ~load,
            e_ready=task.going & load,
            r_read=task.fire & ~load,
            r_read_address=address,
            r_write=delay(m, task.fire, _NEW, "write", reset=0),
            r_write_address=delay(m, address, _NEW, "write_address"),
            r_write_data=pack([made["new"] for made in lanes]),
            squares_read_data=_accumulate(m, config, task, m.reg(total, "word_squares").zext(SUM_BITS)),
            done=task.done,
        )

    inputs = task_inputs("residual") | {"y_valid": 1, "y_data": config.word_bits("y"), "e_valid": 1, "e_data": width}
    inputs |= {"r_read_data": width, "squares_read_address": config.token_bits}
    outputs = {"task_ready": 1, "y_ready": 1, "e_ready": 1, "r_read": 1, "r_read_address": bits}
    outputs |= {"r_write": 1, "r_write_address": bits, "r_write_data": width, "squares_read_data": SUM_BITS, "done": 1}
    return design.module("residual", inputs, outputs, body)


def _lane(design: Design, config: AcceleratorConfig) -> str:
    """A channel: `y` and `e` in with the step, `r` a cycle later; `new` after `_NEW` cycles, `square` two later."""

    def body(m: Module) -> dict[str, Signal]:
        bits = max(RESIDUAL_BITS, config.y_bits)
        load = m["load"]
        y = mux(load, m["e"].sext(bits), m["y"].sext(bits))
        y = delay(m, y, 2, "y_late")
        r = m.reg(mux(load, const(0, RESIDUAL_BITS), m["r"]), "r_q")
        # To load is to add an embedding at its own exponent to nothing.
        y_right = mux(load, const(LEFT, 8), m["y_right"])
        wide = bits + LEFT + 1  # both terms at most `bits` + LEFT wide, and their carry
        a = rescaled_later(m, r, m["residual_right"], "r_shifted").sext(wide)
        b = rescaled_later(m, y, y_right, "y_shifted").sext(wide)
        new = m.reg(saturated(m.reg(a + b, "sum"), RESIDUAL_BITS), "new")
        square = delay(m, new.sext(SQUARE_BITS) * new.sext(SQUARE_BITS), 2, "square")
        return dict(new=new, square=square)

    inputs = {"load": 1, "residual_right": 8, "y_right": 8, "r": RESIDUAL_BITS, "e": RESIDUAL_BITS, "y": config.y_bits}
    return design.module("residual_lane", inputs, {"new": RESIDUAL_BITS, "square": SQUARE_BITS}, body, reset=False)


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


def _accumulate(m: Module, config: AcceleratorConfig, task: Steps, squares: Signal) -> Signal:
    """Add a word's squares to its token's sum, which the row's first word starts anew; returns the sum asked for.

    Read, added and written in one cycle, so that words of one token may follow each other. The sums stand in two RAMs,
    a read port each.
    """
    load = task.fields["load"][0]
    token = mux(load, task.index["outer"], task.index["inner"])[0 : config.token_bits]
    first = mux(load, task.index["inner"], task.index["outer"]).eq(0) & task.fields["start"].eq(0)
    late = delay(m, pack([token, first]), _SQUARES, "token_late")
    token, first = late[0 : config.token_bits], late[config.token_bits]
    write = delay(m, task.fire, _SQUARES, "squares_valid", reset=0)
    made, before = ram(m.design, config.tokens, SUM_BITS, read_latency=0), Wire(SUM_BITS)
    total = squares + mux(first, const(0, SUM_BITS), before.signal)
    written = dict(we=write, wa=token, wd=total)
    before.assign(m.output_of(made, "sums", **written, ra=token))
    return m.output_of(made, "sums_for_norm", **written, ra=m["squares_read_address"])


def _tree(terms: list[Signal]) -> Signal:
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=True)]
    return terms[0]
