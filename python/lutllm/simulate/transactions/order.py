"""When tasks are executed, where time has no cycles: tasks in order of dispatch in, each executed once, whole.

Hardware overlaps tasks of different engines as far as their waits allow. Here one is executed either as soon as its
streams are there, or as late as waits and queues allow: a plan that forgot a wait gives other integers late.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable

from lutllm.errors import SimulationError
from lutllm.lowering.machine.accelerator import ENGINES, SINKS, WRITERS
from lutllm.lowering.machine.engine import QUEUE, ROUNDS_AHEAD
from lutllm.lowering.schedule.data import Task, stream_of
from lutllm.simulate.transactions.chip import Written
from lutllm.simulate.transactions.functions import Job


def stream_into(task: Task) -> str | None:
    """The engine whose stream a task takes."""
    if task.engine in SINKS:
        return {"e": "embed", "n": "norm"}.get(stream_of(task) or "", "linear")
    return "feed" if task.engine == "linear" else None


class TaskOrder:
    """Queues of dispatched tasks by engine; `execute` is called with one task after the other. `words_taken`: how
    many words of memory x that are written a feed takes."""

    def __init__(
        self, execute: Callable[[Job], tuple[Written, ...]], words_taken: Callable[[Job], int], *, late: bool = False
    ) -> None:
        self.execute, self.words_taken, self.late = execute, words_taken, late
        self.queues: dict[str, deque[Job]] = {engine: deque() for engine in ENGINES}
        self.sinks: deque[str] = deque()  # engines in the order in which they take stream y
        self.writers: deque[str] = deque()  # engines in the order of their tasks that write memory x
        self.written = 0  # words there that no feed has taken
        self.made: dict[str, int] = defaultdict(int)  # words of streams that wait, by the engine that gave them

    def dispatch(self, job: Job) -> None:
        """Hand out a task; before that, execute what it waits for."""
        task = job.task
        for engine, pending in task.waits:
            self.finish(engine, pending, task.name)
        self.finish(task.engine, ROUNDS_AHEAD if task.engine == "linear" else QUEUE, task.name)
        self.queues[task.engine].append(job)
        if stream_into(task) == "linear":
            self.sinks.append(task.engine)
        if task.engine in WRITERS["x"] and task.writes:
            self.writers.append(task.engine)
        if not self.late:
            self.drain(partly=True)

    def drain(self, *, partly: bool = False) -> None:
        """Execute everything, or what there are streams for."""
        for engine in reversed(ENGINES):
            while self.queues[engine] and not (partly and self.missing(engine)):
                self.finish_one(engine, "the end of its list")

    def finish(self, engine: str, pending: int, who: str) -> None:
        """Execute tasks of `engine` until at most `pending` are left."""
        while len(self.queues[engine]) > pending:
            self.finish_one(engine, who)

    def missing(self, engine: str) -> str | None:
        """The engine whose stream, or words, the first task of `engine` waits for."""
        job = self.queues[engine][0]
        if engine == "feed" and self.written < self.words_taken(job):
            return self.writers[0] if self.writers else "norm"
        giver = stream_into(job.task)
        if giver == "linear" and self.sinks[0] != engine:
            return self.sinks[0]
        return giver if giver and not self.made[giver] else None

    def finish_one(self, engine: str, who: str) -> None:
        """Execute the first task of `engine`, and what it needs before it."""
        while missing := self.missing(engine) if self.queues[engine] else engine:
            if not self.queues[missing]:
                raise SimulationError(
                    f"task {who}: expected a task of engine {missing} before it, got none: it would wait for ever; "
                    "plan again"
                )
            self.finish_one(missing, who)
        job = self.queues[engine].popleft()
        giver = stream_into(job.task)
        if giver is not None:
            self.made[giver] -= 1
        if giver == "linear":
            self.sinks.popleft()
        if engine in ("feed", "linear", "embed") or (engine == "norm" and stream_of(job.task)):
            self.made[engine] += 1
        if engine in WRITERS["x"] and job.task.writes:
            self.writers.remove(engine)
        self.written -= self.words_taken(job) if engine == "feed" else 0
        self.written += sum(each.addresses.size for each in self.execute(job) if each.memory == "x")
