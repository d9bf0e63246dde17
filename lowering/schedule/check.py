"""The plan checked: everything that would make hardware compute other numbers, or stand still, found before it runs."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from lutllm.errors import IRError
from lutllm.lowering.accelerator import ENGINES, NO_WAIT, SINKS, TASK_BITS, WAIT_SLOTS
from lutllm.lowering.plan.data import PROGRAMS, Buffer, Plan, Task
from lutllm.lowering.plan.waits import Hazards, Progress

OUTSIDE = {"head": ("r.stream",)}  # what a program finds written when it starts, besides the KV caches


def verify_plan(plan: Plan) -> None:
    """Raise `IRError` for the first thing that is wrong: what was expected, what came, what to do."""
    for problem in _problems(plan):
        raise IRError(problem)


def _problems(plan: Plan) -> Iterator[str]:
    yield from _region_problems(plan)
    yield from _buffer_problems(plan)
    for task in plan.tasks:
        yield from _task_problems(plan, task)
    for program in PROGRAMS:
        tasks = plan.program(program)
        yield from _stream_problems(tasks)
        yield from _hazards(plan, tasks)
        yield from _unwritten(plan, tasks, OUTSIDE.get(program, ()))


def _region_problems(plan: Plan) -> Iterator[str]:
    regions = sorted(plan.regions.values(), key=lambda region: region.address)
    for first, second in itertools.pairwise(regions):
        end = first.address + first.size
        if second.address < end:
            wanted = f"expected address >= {end}, after {first.name}"
            yield f"region {second.name}: {wanted}, got {second.address}; plan again"


def _buffer_problems(plan: Plan) -> Iterator[str]:
    for b in plan.buffers.values():
        words = getattr(plan.config, f"{b.memory}_words")
        if b.end > words:
            yield f"buffer {b.name}: expected to end within {words} words of memory {b.memory}, got {b.end}; enlarge it"
        if b.size < b.words * plan.config.tokens:
            yield (
                f"buffer {b.name}: expected room for {b.words} words of {plan.config.tokens} tokens, got {b.size}; "
                "enlarge it"
            )


def _task_problems(plan: Plan, task: Task) -> Iterator[str]:
    def wrong(expected: object, got: object, do: str = "plan again") -> str:
        return f"task {task.name}: expected {expected}, got {got}; {do}"

    bits = {name: width for name, width in TASK_BITS[task.engine].items() if name != "reserved"}
    if set(task.fields) != set(bits):
        yield wrong(f"fields {', '.join(bits)}", ", ".join(task.fields))
    for name, value in task.fields.items():
        if not 0 <= value < 1 << bits[name]:
            yield wrong(f"{name} to fit {bits[name]} bits", value)
    if len(task.waits) > WAIT_SLOTS:
        yield wrong(f"at most {WAIT_SLOTS} waits", len(task.waits))
    for engine, pending in task.waits:
        if engine not in ENGINES or not 0 <= pending < NO_WAIT:
            yield wrong(f"to wait for 0..{NO_WAIT - 1} tasks of an engine", f"{pending} of {engine}")
    for name in (*task.reads, *task.writes):
        if name not in plan.buffers and (name not in plan.regions or plan.regions[name].kind not in ("k", "v")):
            yield wrong(f"a buffer or KV cache {name}", "none")
        elif name in plan.buffers and task.span(plan.buffers[name].words).stop > plan.buffers[name].words:
            words = plan.buffers[name].words
            yield wrong(f"to end within {words} words of {name}", task.span(words).stop)
    yield from _parameter_problems(plan, task)
    yield from _limits(plan, task)


def _parameter_problems(plan: Plan, task: Task) -> Iterator[str]:
    p = task.parameters
    if p is None:
        return
    region = plan.regions.get(p.region)
    if region is None or region.kind != "p":
        yield f"task {task.name}: expected a region of parameters {p.region}, got none; plan again"
        return
    most = plan.context if task.per_token else 1
    end = p.offset + (most - 1) * p.stride + p.beats * plan.config.p_bits // 8
    if end > region.size:
        yield f"task {task.name}: expected parameters within {region.size} bytes of {p.region}, got {end}; plan again"


def _limits(plan: Plan, task: Task) -> Iterator[str]:
    """Capacities inside engines."""
    tokens, config = plan.tokens(task.program), plan.config
    if task.engine == "attention":
        scores = task.fields["reps"] * tokens * plan.context
        if scores > config.score_words:
            yield f"task {task.name}: expected at most {config.score_words} scores, got {scores}; use fewer reps"
        sums = task.fields["reps"] * tokens * task.fields["beats"]
        if sums > config.item_words:
            yield f"task {task.name}: expected at most {config.item_words} sums, got {sums}; use fewer reps"
    if task.engine == "linear":
        if task.round not in plan.rounds:
            yield f"task {task.name}: expected a round, got '{task.round}'; plan again"
            return
        round_ = plan.rounds[task.round]
        if round_.chunks * tokens > config.engine.acc_words:
            yield (
                f"task {task.name}: expected at most {config.engine.acc_words} words of sums, got "
                f"{round_.chunks * tokens}; cut it into rounds"
            )
        for name in (round_.c, round_.q, *round_.w):
            if name not in plan.regions:
                yield f"task {task.name}: expected a region {name}, got none; plan again"


def _stream_problems(tasks: tuple[Task, ...]) -> Iterator[str]:
    """Streams have no names in hardware: linear tasks, feeds and sinks must come in one order."""
    groups = {
        "feeds": [t.round for t in tasks if t.engine == "feed"],
        "sinks": [t.round for t in tasks if t.engine in SINKS and not t.fields.get("load")],
    }
    linears = [t.round for t in tasks if t.engine == "linear"]
    for kind, rounds in groups.items():
        for i, (wanted, got) in enumerate(itertools.zip_longest(linears, rounds, fillvalue="none")):
            if wanted != got:
                yield f"{kind}: expected number {i} to be of round {wanted}, got {got}; order them like their linears"
                return
    if sum(t.engine == "embed" for t in tasks) != sum(bool(t.fields.get("load")) for t in tasks):
        yield "expected a residual task that loads for each embed task, got another number; plan again"
    ahead = 0
    for task in tasks:
        ahead += (task.engine == "linear") - (task.engine == "feed")
        if ahead > 2:
            yield f"task {task.name}: expected at most one linear ahead of a feed, got {ahead - 1}; dispatch it later"


def _hazards(plan: Plan, tasks: tuple[Task, ...]) -> Iterator[str]:
    """What is not waited for, and waits that nothing can end."""
    hazards, progress, ends = Hazards(plan.buffers), Progress(), Counter[str]()
    for task in tasks:
        for engine, pending in task.waits:
            before = progress.open
            progress.wait(engine, pending)
            still = {earlier.name for _, earlier in progress.open}
            for waited in (earlier for _, earlier in before if earlier.name not in still):
                if waited.round and ends[waited.round] < 3:
                    wanted = f"linear, feed and sink of {waited.name} before a wait for it"
                    yield f"task {task.name}: expected {wanted}, got a wait without end; dispatch them first"
        for _, earlier in progress.open:
            reason = hazards.between(earlier, task)
            if reason:
                yield f"task {task.name}: expected to wait for {earlier.name}, because of {reason}, got no wait; add it"
        progress.dispatch(task)
        ends[task.round] += 1


def _unwritten(plan: Plan, tasks: tuple[Task, ...], outside: tuple[str, ...]) -> Iterator[str]:
    """Words that are read before they are written, or after something else took their place. KV caches count as one
    word each: a pass reads the rows that it appends, too."""
    holds = {name: np.full(b.words, name in outside, dtype=bool) for name, b in plan.buffers.items()}
    holds |= {region.name: np.zeros(1, dtype=bool) for kind in ("k", "v") for region in plan.regions_of(kind)}
    for task in tasks:
        for name in task.reads:
            span = task.span(len(holds[name]))
            found = holds[name][span.start : span.stop]
            if not found.all():
                word = span.start + int(np.argmin(found))
                yield f"task {task.name}: expected {name} to hold word {word}, got one not written; plan again"
        for name in task.writes:
            span = task.span(len(holds[name]))
            for other in _sharing(plan.buffers, name):
                holds[other][:] = False
            holds[name][span.start : span.stop] = True


def _sharing(buffers: Mapping[str, Buffer], name: str) -> list[str]:
    """The other buffers that share a word with buffer `name`; none for a region."""
    if name not in buffers:
        return []
    own = buffers[name]
    return [
        other.name
        for other in buffers.values()
        if other.name != name and other.memory == own.memory and other.base < own.end and own.base < other.end
    ]
