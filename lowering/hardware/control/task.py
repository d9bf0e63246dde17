"""A task held by its engine: port `task` in; its fields, its steps, and `done` out. And the ports of engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lutllm.lowering.hardware.control.records import task_record
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Module
from lutllm.lowering.hardware.lib.signal import CycleError, Pipeline, Signal, all_of, const, mux
from lutllm.lowering.hardware.lib.state import Levels, loop_nest
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.numerics import bits_for

ORIGIN_CYCLES = 2
# Cycles from a task's dispatch, or from the end of its engine's task before, until the engine holds it.
START = 2

TaskFields = dict[str, Signal]


def held_task(m: Module, config: AcceleratorConfig, engine: str, done: Signal) -> tuple[Signal, TaskFields]:
    """Take a task of `engine` when idle and hold it until `done`; returns (busy, its fields, steady).

    The fields are valid from the first cycle of `busy` on; after `done` there is a cycle without, in which the next
    task may be taken.
    """
    busy, given = m.state(1, "task_busy", reset=0), m["task"]
    given.drive(ready=~busy.signal)
    take = given.moves
    fields = task_record(config, engine).unpack(given.data)
    held = {name: m.reg(value, f"task_{name}", enable=take).steady() for name, value in fields.items()}
    busy.set(take | (busy.signal & ~done))
    return busy.signal, held


@dataclass(frozen=True)
class Timing:
    """Cycles of an engine that makes a step a cycle: from the first in which it holds a task to its first step, `rows`
    more for each token, and from its last step to `done`."""

    first: int
    last: int
    rows: int = 0


@dataclass(frozen=True)
class Steps:
    """A task and the loop over it. `going`: it has steps to make; `fire`: it makes one, at (`index`, `last`);
    `finish`: the last one. `offset` counts the steps made. `step` is `fire` in `pipe`, whose cycle 0 is a step's."""

    engine: str
    fields: TaskFields
    busy: Signal
    going: Signal
    fire: Signal
    index: dict[str, Signal]
    last: dict[str, Signal]
    finish: Signal
    offset: Signal
    done: Signal
    latency: int | Signal
    pipe: Pipeline
    step: Signal

    def ends(self, result: Signal, after: int = 0) -> None:
        """Check that the task is done in the cycle after its last result, or `after` cycles before that."""
        wanted = result.cycle + 1 - after
        if wanted != self.latency:
            got = f"got {self.latency}"
            raise CycleError(f"{self.engine}: expected `done` {wanted} cycles after the last step, {got}")


def stepped_task(
    m: Module,
    config: AcceleratorConfig,
    engine: str,
    levels: Callable[[TaskFields], Levels],
    allowed: Signal | Callable[[TaskFields], Signal],
    *,
    after: int | Signal = 0,
    latency: int | Signal,
) -> Steps:
    """Hold a task of `engine` and make a step of the loop nest `levels` in every cycle that is `allowed`.

    The first step waits for `after`: cycles, or a signal. The task is done `latency` cycles after its last step, or
    with the signal `latency`.
    """
    finish, done, pipe = Wire(1), Wire(1), m.pipeline()
    busy, fields = held_task(m, config, engine, done.signal)
    begun = settled(m, busy, after, "begun") if isinstance(after, int) else busy & after
    going = begun & ~m.since("all_issued", finish.signal, busy)
    fire = (going & (allowed(fields) if callable(allowed) else allowed)).named("fire")
    index, last, _ = loop_nest(m, fire, levels(fields))
    finish.assign(all_of([fire, *last.values()]))
    late = m.reg(finish.signal, "finish", cycles=latency, reset=0) if isinstance(latency, int) else latency
    done.assign(late)
    count = m.state(16, "offset", reset=0)
    offset = count.set(mux(busy, count.signal + 1, const(0, 16)), fire | ~busy)
    return Steps(
        engine, fields, busy, going, fire, index, last, finish.signal, offset, late, latency, pipe, pipe.valid(fire)
    )


def settled(m: Module, busy: Signal, cycles: int, name: str) -> Signal:
    """1 from `cycles` cycles after the start on. Every stage falls with `busy`, or the next task would find it set."""
    for i in range(cycles):
        busy = busy & m.reg(busy, f"{name}_{i}", reset=0)
    return busy


def words_then_tokens(config: AcceleratorConfig) -> Callable[[TaskFields], Levels]:
    """The order of stream y: the words of a row, in each the tokens."""
    return lambda fields: [("word", fields["words"]), ("token", token_count(config, fields))]


def token_count(config: AcceleratorConfig, fields: TaskFields) -> Signal:
    """Tokens of the pass, no wider than this hardware needs."""
    return fields["tokens"][0 : min(16, bits_for(config.tokens + 1))]


def origin(m: Module, fields: TaskFields, base: Signal | None, bits: int) -> Signal:
    """base + start * tokens, `ORIGIN_CYCLES` after a task's start: where the words of a round begin in a memory."""
    skipped = m.reg(fields["start"][0:bits] * fields["tokens"][0:bits], "skipped")
    return m.reg(skipped if base is None else skipped + base[0:bits], "origin")
