"""Order and waits: tasks in the order of the model in; in order of dispatch, with what each waits for, out.

Tasks are dispatched in order, and an engine finishes its own in order. So what was known to be finished when one task
was dispatched is so for all later ones, and for each engine one number says it: how many of its tasks are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lutllm.errors import CapacityError
from lutllm.lowering.machine.accelerator import NO_WAIT, WAIT_SLOTS, WRITERS
from lutllm.lowering.machine.engine import ROUNDS_AHEAD
from lutllm.lowering.place.buffers import Buffer
from lutllm.lowering.schedule.data import Task


def hoisted(tasks: Sequence[Task]) -> list[Task]:
    """Linear tasks moved up before feeds of earlier rounds, so that weights come while their inputs are made: as far
    as there is room in the queue, and two a feed at most, so that the first feed does not wait for many. A new row
    source makes the engine run empty first, which it cannot while such a feed is to come."""
    linears = [task for task in tasks if task.engine == "linear"]
    ordered = linears[:1]
    own, ahead = 0, 1
    for task in tasks:
        if task.engine == "linear":
            continue
        if task.engine == "feed":
            last = min(own + ROUNDS_AHEAD, 2 * own + 2, len(linears))
            while ahead < last and linears[ahead].fields["mode"] == linears[own].fields["mode"]:
                ordered.append(linears[ahead])
                ahead += 1
            own += 1
        ordered.append(task)
    return ordered


@dataclass
class Progress:
    """Which tasks of a program are known to be finished while it is dispatched, and which are not."""

    dispatched: Counter[str] = field(default_factory=Counter)
    finished: dict[str, int] = field(default_factory=dict)
    open: list[tuple[int, Task]] = field(default_factory=list)  # number of the task among its engine's

    def wait(self, engine: str, pending: int) -> None:
        """The sequencer has seen at most `pending` unfinished tasks of `engine`."""
        self.finished[engine] = max(self.finished.get(engine, 0), self.dispatched[engine] - pending)
        self.open = [(n, task) for n, task in self.open if n >= self.finished.get(task.engine, 0)]

    def dispatch(self, task: Task) -> None:
        self.open.append((self.dispatched[task.engine], task))
        self.dispatched[task.engine] += 1


class Hazards:
    """What two tasks of different engines must not do at a time, the earlier one unfinished."""

    def __init__(self, buffers: Mapping[str, Buffer]) -> None:
        self.buffers = buffers

    def between(self, earlier: Task, later: Task) -> str | None:
        """Why `later` must wait for `earlier`, or None."""
        if earlier.engine == later.engine:
            modes = earlier.fields.get("mode"), later.fields.get("mode")
            return "its row source" if earlier.engine == "linear" and modes[0] != modes[1] else None
        for names, others in (
            (earlier.writes, later.reads),
            (earlier.reads, later.writes),
            (earlier.writes, later.writes),
        ):
            for name, other in ((n, o) for n in names for o in others):
                if self.overlap(earlier, name, later, other):
                    return other
        for names, others, port in (
            (earlier.reads, later.reads, "read"),
            (earlier.writes, later.writes, "write"),
        ):
            shared = self.memories(names) & self.memories(others)
            if shared:
                return f"the {port} port of memory {min(shared)}"
        if {earlier.engine, later.engine} == {"norm", "residual"} and earlier.cluster != later.cluster:
            return "the sums of squares"
        return None

    def memories(self, names: Sequence[str]) -> set[str]:
        return {self.buffers[name].memory for name in names if name in self.buffers}

    def overlap(self, one: Task, name: str, two: Task, other: str) -> bool:
        """Whether two tasks touch a word of buffers (or regions) `name` and `other` both."""
        if name == other:
            if name not in self.buffers:
                return True
            a, b = (task.span(self.buffers[name].words) for task in (one, two))
            return a.start < b.stop and b.start < a.stop
        if name not in self.buffers or other not in self.buffers:
            return False
        first, second = self.buffers[name], self.buffers[other]
        return first.memory == second.memory and first.base < second.end and second.base < first.end


class Follower:
    """Which results feeds may take while they are written, as `feed` counts words: the first feed of a result, where
    every result that was written before has been taken and this one is written in order, and all feeds after the one
    that took it."""

    def __init__(self) -> None:
        self.written: list[str] = []  # clusters, in order, whose words no feed has taken yet
        self.taken: set[str] = set()
        self.in_order: set[str] = set()

    def follows(self, task: Task) -> str:
        """The cluster whose words `task` follows, or "". To be asked of every task once, in order of dispatch."""
        if task.engine in WRITERS["x"] and task.writes and task.cluster not in {*self.written, *self.taken}:
            self.written.append(task.cluster)
            if task.in_order:
                self.in_order.add(task.cluster)
        if task.engine != "feed":
            return ""
        (label,) = task.values.values()
        if not task.fields["takes"]:
            return label if label in self.taken else ""
        first = self.written[:1] == [label] and label in self.in_order
        self.written = [other for other in self.written if other != label]
        self.taken.add(label)
        return label if first else ""


def needed(tasks: Sequence[Task], buffers: Mapping[str, Buffer]) -> Iterator[list[int]]:
    """For each task of a program the numbers of the tasks it must wait for, one an engine, and no more than are not
    known to be done."""
    hazards, progress, numbers, follower = Hazards(buffers), Progress(), dict[tuple[str, int], int](), Follower()
    for i, task in enumerate(tasks):
        last: dict[str, int] = {}
        followed = follower.follows(task)
        for number, earlier in progress.open:
            if earlier.cluster != followed and hazards.between(earlier, task):
                last[earlier.engine] = max(last.get(earlier.engine, 0), number)
        if len(last) > WAIT_SLOTS:
            raise CapacityError(
                f"{task.name}: expected at most {WAIT_SLOTS} engines to wait for, got {', '.join(last)}; "
                "change the order of the tasks"
            )
        for engine, number in last.items():
            progress.wait(engine, pending_of(progress.dispatched[engine], number))
        numbers[task.engine, progress.dispatched[task.engine]] = i
        progress.dispatch(task)
        yield sorted(numbers[engine, number] for engine, number in last.items())


def pending_of(dispatched: int, number: int) -> int:
    """How many of `dispatched` tasks of an engine may be unfinished for the one with `number` to be done."""
    return min(dispatched - number - 1, NO_WAIT - 1)
