"""The schedule checked: everything that would make hardware compute other numbers, or stand still, found before it runs.

Plain data in; each problem out with the task it is about.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

import numpy as np

from lutllm.errors import IRError
from lutllm.lowering.accelerator import ENGINES, HEAD_MODES, NO_WAIT, SINKS, TASK_BITS, WAIT_SLOTS
from lutllm.lowering.schedule.data import HEAD, Plan, Task
from lutllm.lowering.schedule.waits import Hazards, Progress

Problem = tuple[Task | None, str]
_STREAM = "r"  # the memory that a program finds as the one before left it


def verify_plan(plan: Plan) -> None:
    """Raise `IRError` for the first thing that is wrong: what was expected, what came, what to do."""
    for task, problem in problems(plan):
        raise IRError(problem, location=None if task is None else task.location)


def problems(plan: Plan) -> Iterator[Problem]:
    for problem in (*_region_problems(plan), *_buffer_problems(plan)):
        yield None, problem
    for task in plan.tasks:
        yield from ((task, problem) for problem in _task_problems(plan, task))
    for program in plan.programs:
        tasks = plan.program(program)
        yield from _stream_problems(tasks)
        yield from _hazards(plan, tasks)
        yield from _values(plan, program, tasks)


def _region_problems(plan: Plan) -> Iterator[str]:
    regions = sorted(plan.regions.values(), key=lambda region: region.address)
    for first, second in itertools.pairwise(regions):
        end = first.address + first.size
        if second.address < end:
            wanted = f"expected address >= {end}, after {first.name}"
            yield f"region {second.name}: {wanted}, got {second.address}; allocate again"


def _buffer_problems(plan: Plan) -> Iterator[str]:
    for name, b in plan.buffers.items():
        words = getattr(plan.config, f"{b.memory}_words")
        if b.end > words:
            yield f"buffer {name}: expected to end within {words} words of memory {b.memory}, got {b.end}; enlarge it"
        if b.size < b.words * plan.config.tokens:
            yield f"buffer {name}: expected room for {b.words} words of {plan.config.tokens} tokens, got {b.size}; enlarge it"


def _task_problems(plan: Plan, task: Task) -> Iterator[str]:
    def wrong(expected: object, got: object, do: str = "schedule again") -> str:
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
        yield f"task {task.name}: expected a region of parameters {p.region}, got none; allocate again"
        return
    end = p.offset + p.beats * plan.config.p_bits // 8
    if task.per_token:
        end += (plan.context - 1) * p.stride
    if end > region.size:
        yield f"task {task.name}: expected parameters within {region.size} bytes of {p.region}, got {end}; allocate again"


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
        round_ = plan.rounds[task.round]
        if round_.chunks * tokens > config.engine.acc_words:
            yield (
                f"task {task.name}: expected at most {config.engine.acc_words} words of sums, got "
                f"{round_.chunks * tokens}; cut it into rounds"
            )
        for name in (round_.c, round_.q, *round_.w):
            if name not in plan.regions:
                yield f"task {task.name}: expected a region {name}, got none; allocate again"


def _stream_problems(tasks: tuple[Task, ...]) -> Iterator[Problem]:
    """Streams have no names in hardware: linear tasks, feeds and sinks must come in one order."""
    groups = {
        "feeds": [t for t in tasks if t.engine == "feed"],
        "sinks": [t for t in tasks if t.engine in SINKS and not t.fields.get("load")],
    }
    linears = [t for t in tasks if t.engine == "linear"]
    for kind, found in groups.items():
        for i, (wanted, got) in enumerate(itertools.zip_longest(linears, found)):
            names = [("none" if t is None else f"{t.cluster}, round {t.round}") for t in (wanted, got)]
            if names[0] != names[1]:
                yield (
                    got or wanted,
                    f"{kind}: expected number {i} to be of {names[0]}, got {names[1]}; order them like their linears",
                )
                return
    embeds, loads = (
        [t.cluster for t in tasks if t.engine == engine and (engine == "embed" or t.fields["load"])]
        for engine in ("embed", "residual")
    )
    if embeds != loads:
        yield None, "expected a residual task that loads for each embed task, got others; schedule again"
    ahead = 0
    for task in tasks:
        ahead += (task.engine == "linear") - (task.engine == "feed")
        if ahead > 2:
            yield (
                task,
                f"task {task.name}: expected at most one linear ahead of a feed, got {ahead - 1}; dispatch it later",
            )


def _hazards(plan: Plan, tasks: tuple[Task, ...]) -> Iterator[Problem]:
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
                    yield task, f"task {task.name}: expected {wanted}, got a wait without end; dispatch them first"
        for _, earlier in progress.open:
            reason = hazards.between(earlier, task)
            if reason:
                yield (
                    task,
                    f"task {task.name}: expected to wait for {earlier.name}, because of {reason}, got no wait; add its token",
                )
        progress.dispatch(task)
        ends[task.round] += 1


def _values(plan: Plan, program: str, tasks: tuple[Task, ...]) -> Iterator[Problem]:
    """Words that do not hold, when they are read, what the cluster they are read for takes. KV caches count as one word
    each: a pass reads the rows that it appends, too. Waits are right already, so the order of tasks decides."""
    held = {m: np.full(getattr(plan.config, f"{m}_words"), "", object) for m in ("r", "x", "y", "q")}
    if program == HEAD:
        held[_STREAM][:] = "outside"
    caches: dict[str, str] = {}
    turned = False
    for task in tasks:
        if task.engine == "heads":
            turned |= HEAD_MODES[task.fields["mode"]] == "rotations"
            if task.fields["rotate"] and not turned:
                yield (
                    task,
                    f"task {task.name}: expected RoPE's rows loaded before, got none; add the task that loads them",
                )
        for name, wanted in task.values.items():
            if name not in plan.buffers:
                if caches.get(name) != wanted:
                    yield (
                        task,
                        f"task {task.name}: expected the rows of {wanted} in {name}, got none; dispatch them first",
                    )
                continue
            buffer = plan.buffers[name]
            span, tokens = task.span(buffer.words), plan.config.tokens
            words = held[buffer.memory][buffer.base + span.start * tokens : buffer.base + span.stop * tokens]
            if (words != wanted).any():
                at = int(np.argmax(words != wanted))
                got = words[at] or "nothing"
                yield (
                    task,
                    (
                        f"task {task.name}: expected {name} to hold the result of {wanted} in word {span.start + at // tokens}, got "
                        f"that of {got}; dispatch it at another place"
                    ),
                )
        for name in task.writes:
            if name not in plan.buffers:
                caches[name] = task.cluster
                continue
            buffer = plan.buffers[name]
            span, tokens = task.span(buffer.words), plan.config.tokens
            held[buffer.memory][buffer.base + span.start * tokens : buffer.base + span.stop * tokens] = task.cluster
