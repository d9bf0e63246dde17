"""A task held by its engine: ports `task_valid`, `task_data` in; whether one runs, its fields, and `task_ready` out."""

from lutllm.lowering.accelerator_hw.records import task_record
from lutllm.lowering.circt import Module, Signal


def task_inputs(engine: str) -> dict[str, int]:
    """The ports of `engine` a task comes in at; `task_ready` goes out."""
    return {"task_valid": 1, "task_data": task_record(engine).width}


def held_task(m: Module, engine: str, done: Signal) -> tuple[Signal, dict[str, Signal], Signal]:
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
