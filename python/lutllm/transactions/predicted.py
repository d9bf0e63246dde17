"""Predicted cycles: a plan and the passes of a run in, when each task would run out. An estimate, not a simulation.

The model is one of queues, waits and rates: descriptors come one after the other, an engine works on one task at a time
from a queue of two, does its steps at one a cycle where its streams allow, and has a pipeline to fill. What it leaves
out are the stalls within a task. For a random decoder of two layers on target `tiny` it is 5 % too high at a memory
latency of 64, 6 % at 1, and 5 % too low at 200. It reads no weights.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from lutllm.errors import SimulationError
from lutllm.lowering.accelerator import HEAD_MODES, QUEUE, SINKS, AcceleratorConfig
from lutllm.lowering.schedule.data import Plan, Task
from lutllm.lowering.schedule.descriptors import list_words
from lutllm.transactions.passes import Pass
from lutllm.transactions.records import TaskRecord
from lutllm.transactions.steps import Streams, attention_steps, linear_streams, task_steps

LATENCY = 64  # of memory, in cycles, as `AxiTiming` has it
SETTLE = 4  # cycles from a descriptor's last word until it may go out
BETWEEN = 6  # cycles from the end of a list to the command for the next
HEADER = 24  # cycles of a run before its first list, besides memory latency
COMMAND = 6  # cycles from a task's dispatch to its transfers on the bus
TAKEN = 2  # cycles from dispatch, or from the end of the task before, to an engine's first step
# Cycles from an engine's last step to `done`; where steps wait for something of its own, from the start to the first.
FILL = {"feed": 4, "norm": 14, "residual": 9, "store": 4, "swiglu": 19, "heads": 20, "attention": 45, "embed": 8}
FILL |= {"pick": 9, "load": 4, "save": 8}
ROOTS = 24  # the roots of a norm begin


@dataclass
class _Round:
    """A round under way: when its descriptor went out, and when the engine sums up."""

    dispatched: int
    streams: Streams
    begin: int = 0
    end: int = 0


def predicted(plan: Plan, passes: Sequence[Pass], latency: int = LATENCY) -> list[TaskRecord]:
    """A record for each task of each pass, in order of dispatch; cycles count from the start of the run."""
    cycle, found = HEADER + latency, []
    for turn, each in enumerate(passes):
        list_ = _List(plan, each, turn, cycle + BETWEEN + latency, latency)
        found += list_.run()
        cycle = max((record.end for record in list_.records), default=cycle)
    return found


class _List:
    """One run of a task list, from the arrival of its first descriptor."""

    def __init__(self, plan: Plan, each: Pass, turn: int, arrival: int, latency: int) -> None:
        self.plan, self.each, self.turn, self.latency = plan, each, turn, latency
        self.config: AcceleratorConfig = plan.config
        self.cycle = arrival  # the sequencer is free
        self.done: dict[str, list[int]] = defaultdict(list)  # of what is known to end
        self.rounds: list[_Round] = []
        self.fed = 0  # rounds with a feed
        self.mode = -1
        self.p_free = self.w_free = self.e_first = 0
        self.records: list[TaskRecord] = []
        engine = plan.config.engine
        # Beats the reader of weights has asked for or holds; the other readers are taken to have as many.
        self.buffered = plan.config.depths.get("read_w", engine.burst_beats * engine.outstanding)
        # Cycles a beat of a long transfer: a burst is asked for when there is room for all of it.
        self.rate = max(1.0, (latency + 10) / max(1, self.buffered - engine.burst_beats))

    def run(self) -> list[TaskRecord]:
        tasks = self.plan.program(self.each.program)
        linears = [i for i, task in enumerate(tasks) if task.engine == "linear"]
        times: dict[int, tuple[int, int]] = {}
        for i, task in enumerate(tasks):
            dispatched = self.dispatch(task)
            if task.engine == "linear":
                streams = linear_streams(self.config, self.plan.rounds[task.round], self.tokens(task))
                self.rounds.append(_Round(dispatched, streams))
                continue
            times[i] = self.timed(task, dispatched)
            self.done[task.engine].append(times[i][1])
            drained = len(self.done["linear"]) - 1
            if drained >= 0:  # a round is known whole with its sink
                times[linears[drained]] = self.rounds[drained].begin, self.done["linear"][drained]
        self.records = [self.record(tasks[i], *times[i]) for i in sorted(times)]
        return self.records

    def record(self, task: Task, start: int, end: int) -> TaskRecord:
        return TaskRecord(task.engine, task.name, task.source, task.program, start, end, self.turn, task.cluster)

    def tokens(self, task: Task) -> int:
        return 1 if task.single else self.each.tokens

    def count(self, engine: str) -> int:
        """Tasks of an engine so far."""
        return len(self.rounds) if engine == "linear" else len(self.done[engine])

    def finished(self, task: Task, engine: str, left: int) -> int:
        """When at most `left` of an engine's tasks so far are unfinished."""
        index = self.count(engine) - left - 1
        if index < 0:
            return 0
        if index >= len(self.done[engine]):
            raise SimulationError(f"task {task.name}: waits for ever for engine {engine}; plan again")
        return self.done[engine][index] + 1

    def dispatch(self, task: Task) -> int:
        """When the sequencer hands `task` to its engine."""
        ready = self.cycle + list_words(task, self.config) + SETTLE
        waits = [self.finished(task, engine, pending) for engine, pending in task.waits]
        waits.append(self.finished(task, task.engine, QUEUE))
        if task.engine == "linear" and task.fields["mode"] != self.mode:
            waits.append(self.finished(task, "linear", 0) + 1)
            self.mode = task.fields["mode"]
        self.cycle = max(ready, *waits) + 1
        return self.cycle

    def timed(self, task: Task, dispatched: int) -> tuple[int, int]:
        """Start and end of a task."""
        start = max(dispatched, *self.done[task.engine][-1:], 0) + TAKEN
        steps, fill = task_steps(self.config, task, self.tokens(task)), FILL[task.engine]
        parameters = self.parameters(task, dispatched)
        if task.engine == "feed":
            return start, self.feed(start, steps)
        if task.engine in SINKS and not task.fields.get("load"):
            last = self.drain(start, steps, parameters)
        elif task.engine == "residual":  # words come out as rows come in
            last = max(start, self.e_first) + round(steps * self.rate)
        elif task.engine == "embed":
            self.e_first = start + COMMAND + self.latency + fill
            last = self.e_first + round(steps * self.rate)
        elif task.engine == "attention":
            last = max(self.attention(task, start), parameters)
        else:
            ready = start + self.roots(task)
            last = max(max(ready, parameters) + steps, parameters + round(self.beats(task) * self.rate))
        self.p_free = max(self.p_free, last if self.beats(task) else 0)
        return start, last + fill + self.written(task)

    def roots(self, task: Task) -> int:
        """Cycles until an engine's first root is there."""
        if task.engine == "norm":
            return ROOTS + (1 if task.fields["last"] else self.tokens(task))
        return ROOTS if task.fields["norm"] else 0

    def written(self, task: Task) -> int:
        """Cycles until memory has answered for cache rows."""
        to_cache = task.engine == "heads" and HEAD_MODES[task.fields["mode"]] in ("key", "value")
        return self.latency + COMMAND if to_cache else 0

    def beats(self, task: Task) -> int:
        """Beats of stream p."""
        if task.parameters is None:
            return 0
        return task.parameters.beats * (self.each.tokens if task.per_token else 1)

    def parameters(self, task: Task, dispatched: int) -> int:
        """When a task's first beat of stream p is there: it passes only when those before it are taken."""
        return max(dispatched + COMMAND + self.latency, self.p_free) if self.beats(task) else 0

    def feed(self, start: int, steps: int) -> int:
        """The round's lookups, from its feed on; returns when the feed is through."""
        own, before = self.rounds[self.fed], self.rounds[: self.fed]
        s = own.streams
        weights = max(own.dispatched + COMMAND + self.latency, self.w_free)
        free = [r.end for r in before[-1:]] + [end for end in self.done["linear"][: self.fed - 1][-1:]]
        own.begin = max(start + FILL["feed"] + s.search, weights, own.dispatched + TAKEN, *free)
        ahead = min(self.buffered, own.begin - weights)
        own.end = own.begin + max(s.lookups, s.codes, s.x, s.c, round((s.w - ahead) * self.rate))
        self.w_free = max(weights + s.w, own.end - self.buffered) + COMMAND
        self.fed += 1
        return max(start + steps, own.end - s.ahead) + FILL["feed"]

    def drain(self, start: int, steps: int, parameters: int) -> int:
        """Stream y of the next round, into the sink that begins at `start`; returns its last word's cycle."""
        done = self.done["linear"]
        if len(done) >= self.fed:
            raise SimulationError("a sink waits for ever for a feed; plan again")
        own = self.rounds[len(done)]
        last = max(own.end + own.streams.chain, start, parameters, *done[-1:]) + steps
        done.append(last)
        return last

    def attention(self, task: Task, start: int) -> int:
        """Three stages, overlapping on successive items."""
        s = attention_steps(self.config, task, self.each.tokens, self.each.position)
        item = max(s.beats, round(s.rows * self.rate), s.drain)
        first = max(s.beats, round(s.rows * self.rate))
        return start + COMMAND + self.latency + first + (s.items - 1) * item + first + s.drain


def total_cycles(records: Sequence[TaskRecord]) -> int:
    """Cycles of a run until the last task is done."""
    return max((record.end for record in records), default=0)
