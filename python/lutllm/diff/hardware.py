"""Hardware beside its tasks: the first task, in order of completion, that wrote something else than it should.

Hardware runs once and stands still whenever an engine says `done`; what that task wrote is compared. Where it differs
hardware runs again, up to that task list, for the cycle of the word, for stream y, and for a waveform.
"""

from __future__ import annotations

from collections import defaultdict, deque
from pathlib import Path

import numpy as np

from lutllm.diff.chip_state import EXTERNAL, ChipState, check_visible
from lutllm.diff.difference import Comparison, Difference
from lutllm.diff.elements import difference_in
from lutllm.diff.recording import Recording
from lutllm.diff.replay import Replay
from lutllm.progress import note
from lutllm.simulate.accelerator import CYCLES, Accelerator, spans_of
from lutllm.simulate.simulator import Simulator
from lutllm.simulate.testbench import DONE, RunResult
from lutllm.simulate.transactions.chip import Written
from lutllm.simulate.transactions.simulator import TaskResult


def compare_hardware(
    recorded: Recording, simulator: Simulator, image: np.ndarray, *, wave: Path | None = None, quiet: bool = True
) -> Comparison:
    """Run `image` on an arc simulator of the plan's accelerator; `wave`: where a waveform goes if something differs."""
    simulator.state[:] = 0  # as at power-up, so that it can be done again
    accelerator = Accelerator(recorded.plan.config, simulator, image)
    watch = _Watch(recorded, accelerator, quiet)
    recorded.begin(accelerator)
    result = accelerator.bench.run(CYCLES, listener=watch.event)
    found = watch.found
    found.cycles = result.cycles
    if watch.wrong is None:
        found.stopped = found.stopped or _ended(recorded, watch, accelerator, result) or _unlike(recorded, image)
        return found
    found.difference = watch.difference(watch.wrong, result)
    found.difference.notes += watch.causes(watch.wrong)
    replay = Replay(recorded, simulator, image, found.difference, spans_of(result, recorded.plan.config.engines))
    replay.locate(watch.wrong)
    if wave is not None:
        replay.waveform().write_vcd(wave, replay.texts())
        found.wave = str(wave)
    return found


class _Watch:
    """Listens to a run: `wrong` is the first result that differs."""

    def __init__(self, recorded: Recording, accelerator: Accelerator, quiet: bool) -> None:
        self.recorded, self.accelerator, self.quiet, self.turn = recorded, accelerator, quiet, -1
        self.chip: ChipState = check_visible(accelerator)
        self.found = Comparison(("transaction", "hw"))
        self.left: dict[str, deque[TaskResult]] = defaultdict(deque)
        for result in recorded.results:
            self.left[result.task.engine].append(result)
        self.wrong: TaskResult | None = None
        self.image = recorded.image.copy()  # as it should be by now
        self.good: dict[str, dict[int, np.ndarray]] = defaultdict(dict)  # words written right, by address

    def event(self, cycle: int, bits: int) -> bool:
        """Compare what has been written by the tasks that are done; False at the first difference."""
        engines = self.recorded.plan.config.engines
        for i, engine in enumerate(engines):
            if not bits >> (i + len(engines)) & 1:
                continue
            if not self.left[engine]:
                self.found.stopped = f"engine {engine} ended a task in cycle {cycle} that the plan does not have"
                return False
            result = self.left[engine].popleft()
            if not self.equal(result):
                self.wrong = result
                return False
        return True

    def equal(self, result: TaskResult) -> bool:
        self.found.steps += 1
        if result.turn > self.turn:
            self.turn = result.turn
            note(f"hw: list {self.turn + 1} of {len(self.recorded.passes)}", quiet=self.quiet)
        for written in _in_memories(result):
            if not np.array_equal(self.chip.read(written), written.values):
                return False
            self.found.numbers += written.values.size
            if written.memory in EXTERNAL:
                raw = np.ascontiguousarray(written.values.astype(EXTERNAL[written.memory])).view(np.uint8)
                self.image[written.addresses[:, None] + np.arange(raw.shape[1])] = raw
            else:
                self.good[written.memory] |= zip(written.addresses.tolist(), written.values, strict=True)
        return True

    def difference(self, result: TaskResult, ended: RunResult) -> Difference:
        """The first element of a task that differs."""
        plan, engine = self.recorded.plan, result.task.engine
        parts = [(written, written.values, self.chip.read(written)) for written in _in_memories(result)]
        found = difference_in(plan, result, parts)
        assert found is not None
        spans = [span for span in spans_of(ended, plan.config.engines) if span.engine == engine and span.done >= 0]
        span = spans[sum(r.task.engine == engine for r in self._done(result))]
        found.dispatched, found.done = span.dispatched, span.done
        return found

    def _done(self, result: TaskResult) -> list[TaskResult]:
        """Everything executed before `result` at transaction level."""
        return self.recorded.results[: self.recorded.results.index(result)]

    def causes(self, result: TaskResult) -> list[str]:
        """What the task read that is not as it should be: its regions in memory, words that were right before."""
        task, plan, notes = result.task, self.recorded.plan, []
        # With it whatever feeds its stream.
        whole = [t for t in plan.program(task.program) if t.cluster == task.cluster and t.round == task.round]
        at = {region.address: name for name, region in plan.regions.items()}
        names = [name for each in (task, *whole) for name in each.reads]
        names += [each.parameters.region for each in whole if each.parameters is not None]
        names += [at[each.fields["address"]] for each in whole if each.engine in ("embed", "load")]
        names += [task.rotations] if task.rotations else []
        if task.round:
            round_ = plan.rounds[task.round]
            names += [round_.c, round_.q, *round_.w]
        for name in dict.fromkeys(names):
            notes += self._region(name) if name in plan.regions else self._buffer(name)
        return notes

    def _region(self, name: str) -> list[str]:
        region = self.recorded.plan.regions[name]
        place = slice(region.address, region.address + region.size)
        want, got = self.image[place], self.accelerator.memory.data[place]
        wrong = np.flatnonzero(want != got)
        if not wrong.size:
            return []
        at = int(wrong[0])
        return [
            f"its region {name} differs in {wrong.size} of {region.size} bytes: byte {at} (address "
            f"{region.address + at:#x}): expected {want[at]:#04x}, got {got[at]:#04x}"
        ]

    def _buffer(self, name: str) -> list[str]:
        """Words of a buffer that were right and are no longer, unless the wrong task writes to it itself."""
        buffer = self.recorded.plan.buffers[name]
        good = {a: v for a, v in self.good[buffer.memory].items() if buffer.base <= a < buffer.end}
        if not good or (self.wrong is not None and name in self.wrong.task.writes):
            return []
        before = Written(buffer.memory, np.array(list(good)), np.array(list(good.values())))
        got = self.chip.read(before)
        wrong = np.flatnonzero((got != before.values).any(axis=1))
        if not wrong.size:
            return []
        at = int(wrong[0])
        return [
            f"its input {name} was right and has been overwritten: {wrong.size} words of memory {buffer.memory}, the "
            f"first at address {before.addresses[at]:#x}: expected {before.values[at].tolist()}, got {got[at].tolist()}"
        ]


def _in_memories(result: TaskResult) -> list[Written]:
    return [written for written in result.written if not written.memory.startswith("stream")]


def _ended(recorded: Recording, watch: _Watch, accelerator: Accelerator, result: RunResult) -> str:
    """Why a run without a wrong word is not right all the same, or nothing."""
    if result.stop != DONE:
        waiting = [queue[0].task.name for queue in watch.left.values() if queue]
        return f"{result.message}; not done: {', '.join(waiting)}"
    run = accelerator.host.outcome(len(recorded.prompt))
    if run.error != recorded.error:
        return f"expected error '{recorded.error}', got '{run.error}' in cycle {result.cycles}"
    if run.tokens != recorded.tokens:
        return f"expected tokens {recorded.tokens}, got {run.tokens}"
    left = sum(map(len, watch.left.values()))
    return f"expected {left} more tasks, got the end of the run" if left else ""


def _unlike(recorded: Recording, image: np.ndarray) -> str:
    """Where an image is not the model's, which no number has shown yet."""
    where = recorded.places(recorded.image != image)
    what = "expected the model's image, got one that differs in"
    return f"{what} {where}; no number of this run shows it" if where else ""
