"""Hardware once more, up to a difference: the cycle its word was written in, what stream y held, and a waveform."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from lutllm.diff.chip_state import EXTERNAL, ChipState, stream_y
from lutllm.diff.difference import Difference
from lutllm.diff.elements import difference_in
from lutllm.diff.recording import Recording
from lutllm.lowering.schedule.data import Task
from lutllm.simulate.accelerator import Accelerator, Span, spans_of
from lutllm.simulate.simulator import Simulator
from lutllm.simulate.transactions.simulator import TaskResult
from lutllm.simulate.waveform import Trace

BEFORE, AFTER = 200, 50  # cycles of a waveform around the word
_COMPUTING_SINKS = ("residual", "swiglu", "pick")


class Replay:
    """Stands a little before the task list of a difference, and comes back there after each question."""

    def __init__(
        self, recorded: Recording, simulator: Simulator, image: np.ndarray, wrong: Difference, spans: Sequence[Span]
    ) -> None:
        self.recorded, self.wrong = recorded, wrong
        simulator.state[:] = 0
        self.accelerator = Accelerator(recorded.plan.config, simulator, image)
        self.chip, self.bench = ChipState(self.accelerator), self.accelerator.bench
        named = list(_named(recorded, spans))
        self.list_start = next(span.dispatched for span, task, turn in named if turn == wrong.turn)
        recorded.begin(self.accelerator)
        self._go(self.list_start - BEFORE)
        self.start = self.bench.checkpoint()

    def _go(self, cycle: int) -> None:
        """Run up to a cycle, or not at all where that is past."""
        if cycle > self.bench.cycle:
            self.bench.run(cycle - self.bench.cycle)

    def locate(self, result: TaskResult) -> None:
        """Complete the difference: its cycle, and whether stream y was wrong already."""
        if result.task.engine in _COMPUTING_SINKS and result.task.round:
            self._blame(result)
        self.bench.restore(self.start)
        self.wrong.cycle = self._written()

    def _written(self) -> int | None:
        """The last cycle in which the task changed the word."""
        wrong, address = self.wrong, np.array([self.wrong.address])
        assert wrong.dispatched is not None and wrong.done is not None
        if wrong.memory in EXTERNAL:
            self._go(wrong.done + 1)
            cycle = self.bench.run(0).write_cycle(self.accelerator.memory.base + wrong.address)
            return cycle if cycle is not None and cycle >= wrong.dispatched else None
        self._go(wrong.dispatched)
        found, before = None, self.chip.bytes(wrong.memory, address)
        while self.bench.cycle <= wrong.done:
            self.bench.step()
            after = self.chip.bytes(wrong.memory, address)
            if not np.array_equal(before, after):
                found, before = self.bench.cycle - 1, after
        return found

    def _blame(self, result: TaskResult) -> None:
        """Say whether LutLinear or the engine that takes its words is wrong."""
        turn = [r for r in self.recorded.results if r.turn == result.turn and r.task.engine == "linear"]
        own = next(i for i, r in enumerate(turn) if r.task.round == result.task.round)
        before, want = sum(len(r.written[0].values) for r in turn[:own]), turn[own].written[0].values
        self._go(self.list_start)
        got = stream_y(self.accelerator, before, len(want), self.wrong.done - self.bench.cycle)  # type: ignore[operator]
        if got is None:
            self.wrong.notes.append("stream y was not seen: the linear before it may be the first that is wrong")
        elif np.array_equal(got, want):
            self.wrong.notes.append(f"all {want.size} numbers of the linear before it were right")
        else:
            self._take_linear(turn[own], got)

    def _take_linear(self, result: TaskResult, got: np.ndarray) -> None:
        """It was the linear: its element is the one to name."""
        written, wrong = result.written[0], self.wrong
        found = difference_in(self.recorded.plan, result, [(written, written.values, got)])
        wrong.notes.insert(0, f"seen in memory {wrong.memory}: expected {wrong.expected}, got {wrong.got}")
        for name in ("op", "module", "token", "channel", "expected", "got", "count", "of"):
            setattr(wrong, name, getattr(found, name))

    def waveform(self) -> Trace:
        """Ports and registers around the cycle of the word, or around the end of its task."""
        assert self.wrong.done is not None
        middle = self.wrong.done if self.wrong.cycle is None else self.wrong.cycle
        first = max(0, middle - BEFORE)
        self.bench.restore(self.start)
        self.bench.record(first, middle + AFTER - first)
        self._go(middle + AFTER)
        self.result = self.bench.run(0)
        assert self.result.trace is not None
        return self.result.trace

    def texts(self) -> dict[str, list[tuple[int, str]]]:
        """For each engine which task it works on, from which cycle on; to be asked after `waveform`."""
        engines = self.recorded.plan.config.engines
        found: dict[str, list[tuple[int, str]]] = {engine: [] for engine in engines}
        free = dict.fromkeys(engines, 0)
        lists: list[tuple[int, str]] = []
        for span, task, turn in _named(self.recorded, spans_of(self.result, engines)):
            begin = max(span.dispatched, free[span.engine])
            said = found[span.engine]
            if said and said[-1][0] == begin:
                said.pop()
            said.append((begin, f"{task.source or 'the model'} ({task.name})"))
            if span.done >= 0:
                said.append((span.done, ""))
                free[span.engine] = span.done
            each = self.recorded.passes[turn]
            lists.append((span.dispatched, f"{turn}: {each.program} of {each.tokens} from {each.position}"))
        return found | {"list": lists}


def _named(recorded: Recording, spans: Sequence[Span]) -> Iterator[tuple[Span, Task, int]]:
    """Spans with their tasks and the number of their list: an engine does its tasks in order."""
    left: dict[str, deque[tuple[Task, int]]] = {engine: deque() for engine in recorded.plan.config.engines}
    for turn, each in enumerate(recorded.passes):
        for task in recorded.plan.program(each.program):
            left[task.engine].append((task, turn))
    for span in spans:
        if left[span.engine]:
            yield (span, *left[span.engine].popleft())
