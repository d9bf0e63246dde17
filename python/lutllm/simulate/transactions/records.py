"""When tasks ran: one record a task, the same from simulation and from prediction; what `schedule_page` shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from lutllm.errors import InputError
from lutllm.lowering.schedule.data import Plan
from lutllm.simulate.transactions.passes import Pass


@dataclass(frozen=True)
class TaskRecord:
    """Task `task` of `program` ran on `engine` from cycle `start` to `end`, as a part of `cluster`; `source` is its
    PyTorch module and `turn` numbers the task lists of a run, of which each is executed whole before the next."""

    engine: str
    task: str
    source: str
    program: str
    start: int
    end: int
    turn: int = 0
    cluster: str = ""

    @property
    def cycles(self) -> int:
        return self.end - self.start

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping) -> TaskRecord:
        """The inverse of `to_dict`; KeyError or TypeError where a field is missing or unknown."""
        return cls(**values)


def named_records(
    plan: Plan, passes: Sequence[Pass], spans: Iterable[tuple[str, int, int]], start: int = 0
) -> list[TaskRecord]:
    """Names for what hardware did in a run of `passes`: `spans` are (engine, cycle of dispatch, cycle of `done`) in
    order of dispatch, `start` the cycle that is to be 0.

    An engine begins a task when it is through with the one before: what waited in its queue is not work. A round of
    LutLinear, which is dispatched ahead for its weights, begins with its feed at the earliest.
    """
    wanted = [(turn, task) for turn, each in enumerate(passes) for task in plan.program(each.program)]
    free: dict[str, int] = {}
    rounds: dict[tuple[int, str], int] = {}  # places in `found`
    found: list[TaskRecord] = []
    for i, ((turn, task), (engine, dispatched, done)) in enumerate(zip(wanted, spans, strict=False)):
        if engine != task.engine:
            raise InputError(
                f"task {i} of the run: expected {task.name} on {task.engine}, got one on {engine}; log the whole run"
            )
        if done < 0:  # under way when the run ended
            continue
        begin = max(dispatched, free.get(engine, 0))
        free[engine] = done
        if engine == "linear":
            rounds[turn, task.round] = len(found)
        record = TaskRecord(
            engine, task.name, task.source, task.program, begin - start, done - start, turn, task.cluster
        )
        found.append(record)
        own = rounds.get((turn, task.round)) if engine == "feed" else None
        if own is not None:
            found[own] = replace(found[own], start=max(found[own].start, record.start))
    return found
