"""A task held by its engine: ports `task_valid`, `task_data` in; its fields, its steps, `task_ready` and `done` out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lutllm.lowering.hardware.control.records import task_record
from lutllm.lowering.hardware.lib.circt import Levels, Module, Signal, Wire, all_of, const, delay, loop_nest, mux
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.numerics import bits_for

ORIGIN_CYCLES = 2
# Cycles from a task's dispatch, or from the end of its engine's task before, until the engine holds it.
START = 2

TaskFields = dict[str, Signal]


def task_inputs(engine: str) -> dict[str, int]:
    """The ports of `engine` a task comes in at; `task_ready` goes out."""
    return {"task_valid": 1, "task_data": task_record(engine).width}


def held_task(m: Module, engine: str, done: Signal) -> tuple[Signal, TaskFields, Signal]:
    """Take a task of `engine` when idle and hold it until `done`; returns (busy, its fields, ready).

    The fields are valid from the first cycle of `busy` on; after `done` there is a cycle without, in which the next
    task may be taken.
    """
    busy = m.state(1, "task_busy", reset=0)
    take = m["task_valid"] & ~busy.signal
    given = task_record(engine).unpack(m["task_data"])
    fields = {name: m.reg(value, f"task_{name}", enable=take) for name, value in given.items()}
    busy.set(take | (busy.signal & ~done))
    return busy.signal, fields, ~busy.signal


@dataclass(frozen=True)
class Timing:
    """Cycles of an engine that makes a step a cycle: from the first in which it holds a task to its first step, `rows`
    more for each token, and from its last step to `done`."""

    first: int
    last: int
    rows: int = 0


@dataclass(frozen=True)
class Steps:
    """A task and the loop over it. `going`: it has steps to make; `fire`: it makes one, at `index`, `last`, `at_first`;
    `finish`: the last one. `offset` counts the steps made."""

    fields: TaskFields
    busy: Signal
    ready: Signal
    going: Signal
    fire: Signal
    index: dict[str, Signal]
    last: dict[str, Signal]
    at_first: dict[str, Signal]
    finish: Signal
    offset: Signal
    done: Signal


def stepped_task(
    m: Module,
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
    finish, done = Wire(1), Wire(1)
    busy, fields, ready = held_task(m, engine, done.signal)
    begun = busy & _since(m, busy, after) if isinstance(after, int) else busy & after
    over = m.state(1, "all_issued", reset=0)
    over.set(busy & (over.signal | finish.signal))
    going = begun & ~over.signal
    fire = (going & (allowed(fields) if callable(allowed) else allowed)).named("fire")
    index, last, at_first = loop_nest(m, fire, levels(fields))
    finish.assign(all_of([fire, *last.values()]))
    late = delay(m, finish.signal, latency, "finish", reset=0) if isinstance(latency, int) else latency
    done.assign(late)
    count = m.state(16, "offset", reset=0)
    offset = count.set(mux(busy, count.signal + 1, const(0, 16)), fire | ~busy)
    return Steps(fields, busy, ready, going, fire, index, last, at_first, finish.signal, offset, late)


def _since(m: Module, busy: Signal, cycles: int) -> Signal:
    """1 from `cycles` cycles after the start on. Every stage falls with `busy`, or the next task would find it set."""
    for i in range(cycles):
        busy = busy & m.reg(busy, f"begun_{i}", reset=0)
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
