"""The schedule checked: everything that would make hardware compute other numbers, or stand still, found before it
runs.

Plain data in; each problem out with the task it is about. Places are checked in `check_places`, dispatches without end
in `endless`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from lutllm.lowering.machine.accelerator import (
    ENGINES,
    HEAD_MODES,
    NO_WAIT,
    SINKS,
    WAIT_SLOTS,
    WRITERS,
    AcceleratorConfig,
)
from lutllm.lowering.place.patterns import OUTSIDE
from lutllm.lowering.schedule.data import Plan, Task, stream_of
from lutllm.lowering.schedule.endless import endless
from lutllm.lowering.schedule.waits import Follower, Hazards, Progress
from lutllm.passes.lut_outline_head import HEAD

Problem = tuple[Task | None, str]
_STREAM = "r"  # the memory that a program finds as the one before left it


def problems(plan: Plan) -> Iterator[Problem]:
    yield from ((None, problem) for problem in _plan_problems(plan))
    for task, problem in _problems(plan):
        yield task, problem if task is None else f"task {task.name}: {problem}"


def _problems(plan: Plan) -> Iterator[Problem]:
    for task in plan.tasks:
        yield from ((task, problem) for problem in _task_problems(plan, task))
    for program in plan.programs:
        tasks = plan.program(program)
        yield from _stream_problems(tasks)
        yield from endless(tasks)
        yield from _hazards(plan, tasks)
        yield from _values(plan, program, tasks)


def _plan_problems(plan: Plan) -> Iterator[str]:
    if plan.context > plan.config.context:
        yield (
            f"expected a machine with a context of at least {plan.context}, as KV caches have, got "
            f"{plan.config.context}; enlarge it"
        )
    for name, b in plan.buffers.items():
        words = getattr(plan.config, f"{b.memory}_words")
        if b.end > words:
            yield f"buffer {name}: expected to end within {words} words of memory {b.memory}, got {b.end}; enlarge it"
        if b.size < b.words * plan.config.tokens:
            yield (
                f"buffer {name}: expected room for {b.words} words of {plan.config.tokens} tokens, got {b.size}; "
                "enlarge it"
            )


def _task_problems(plan: Plan, task: Task) -> Iterator[str]:
    if task.engine not in plan.config.engines:
        yield (
            f"expected a machine with engine {task.engine}, got {', '.join(plan.config.engines)}; add it to the "
            "lut.machine"
        )
    for name, value in task.fields.items():
        if not 0 <= value < 1 << (bits := plan.config.task_bits(task.engine)[name]):
            yield f"expected {name} to fit {bits} bits, got {value}; place it on a larger machine"
    if len(task.waits) > WAIT_SLOTS:
        yield f"expected at most {WAIT_SLOTS} engines to wait for, got {len(task.waits)}; change the order of the tasks"
    p = task.parameters
    if p is not None:
        region, end = plan.regions[p.region], p.offset + p.beats * plan.config.p_bits // 8
        end += (plan.context - 1) * p.stride if task.per_token else 0
        if end > region.size:
            yield f"expected parameters within {region.size} bytes of {p.region}, got {end}; allocate again"
    yield from _limits(plan, task)


def _limits(plan: Plan, task: Task) -> Iterator[str]:
    """Capacities inside engines."""
    tokens, config, f = plan.tokens(task.program), plan.config, task.fields
    if task.engine in ("heads", "attention"):
        words = f["head_words"] if task.engine == "heads" else f["beats"] * config.head_lanes // config.lanes
        if words > config.head_words:
            yield (
                f"expected heads of at most {config.head_words} words, got {words}; enlarge head_words of the "
                "lut.machine"
            )
    if task.engine == "attention":
        for what, got, most in (
            (
                "scores",
                f["reps"] * tokens * config.row_groups(plan.context) * config.attention_rows,
                config.score_words,
            ),
            ("sums", f["reps"] * tokens * f["beats"], config.item_words),
        ):
            if got > most:
                yield f"expected at most {most} {what}, got {got}; use fewer reps"
        # A way's multipliers come behind the shifts of the ways before it, which wait for it.
        ways, words = config.attention_ways, f["reps"] * f["beats"] * config.head_lanes // config.lanes
        if ways > 1 and words * ways > (room := _shift_words(config)):
            yield f"expected at most {room // ways} words of shifts of an item, got {words}; use fewer reps"
    if f.get("positions") and (rows := f["vocabulary"] - f["first"]) < plan.context:
        yield f"expected a row for each of {plan.context} positions, got {rows}; shorten the context"
    if task.engine == "linear":
        words = plan.rounds[task.round].chunks * tokens
        if words > config.engine.acc_words:
            yield f"expected at most {config.engine.acc_words} words of sums, got {words}; cut it into rounds"


def _shift_words(config: AcceleratorConfig) -> int:
    from lutllm.lowering.hardware.attention.attention import attention_timing  # CIRCT, which other passes do not need

    return attention_timing(config)["rights"]


def _stream_problems(tasks: Sequence[Task]) -> Iterator[Problem]:
    """Streams have no names in hardware: linear tasks, feeds and sinks must come in one order, and of a cluster in that
    of its outputs."""
    sinks = [t for t in tasks if t.engine in SINKS and t.round]
    linears = [t for t in tasks if t.engine == "linear"]
    for kind, found in {"feeds": [t for t in tasks if t.engine == "feed"], "sinks": sinks}.items():
        for i, (wanted, got) in enumerate(itertools.zip_longest(linears, found)):
            names = [("none" if t is None else f"{t.cluster}, round {t.round}") for t in (wanted, got)]
            if names[0] != names[1]:
                yield (
                    got or wanted,
                    f"{kind}: expected number {i} to be of {names[0]}, got {names[1]}; order them like their linears",
                )
                return
    starts: dict[str, int] = {}
    for task in sinks:
        start = task.fields.get("start", task.fields.get("offset", 0))
        if start < starts.setdefault(task.cluster, 0):
            yield task, f"expected the rounds of {task.cluster} in order, got it after a later one; order its linears"
        starts[task.cluster] = start
    summed = ""  # whose squares engine residual adds up
    for task in (t for t in tasks if t.engine in ("norm", "residual")):
        if task.engine == "residual" and task.fields.get("start", 0) and summed != task.cluster:
            yield task, f"expected it right after the round before it, got it after {summed}; order its linears"
        if task.engine == "norm" and (wanted := next(iter(task.values.values()))) not in (summed, OUTSIDE):
            yield (
                task,
                f"expected the sums of squares of {wanted}, got those of {summed or 'none'}; dispatch it earlier",
            )
        summed = task.cluster if task.engine == "residual" else summed
    written = {t.cluster: t for t in tasks if t.engine in WRITERS["x"] and t.writes}
    taken = {label for t in tasks if t.engine == "feed" and t.fields["takes"] for label in t.values.values()}
    for label, task in written.items():
        if label not in taken:
            yield task, "expected a linear that takes its result, got none; remove its cluster"
    for giver, stream in (("embed", "e"), ("norm", "n")):
        pair = ([t for t in tasks if t.engine == engine and stream_of(t) == stream] for engine in (giver, "residual"))
        givers, takers = ([t.cluster for t in found] for found in pair)
        if givers != takers:
            wanted = f"a residual task that takes stream {stream} for each {giver} task that gives it"
            yield None, f"expected {wanted}, in one order, got others; schedule again"


def _hazards(plan: Plan, tasks: Sequence[Task]) -> Iterator[Problem]:
    """What is not waited for."""
    hazards, progress, follower = Hazards(plan.buffers), Progress(), Follower()
    for task in tasks:
        for engine, pending in task.waits:
            assert engine in ENGINES and 0 <= pending < NO_WAIT
            progress.wait(engine, pending)
        followed = follower.follows(task)
        for _, earlier in progress.open:
            reason = hazards.between(earlier, task)
            if reason and earlier.cluster != followed:
                yield task, f"expected to wait for {earlier.name}, because of {reason}, got no wait; add its token"
        progress.dispatch(task)


def _values(plan: Plan, program: str, tasks: Sequence[Task]) -> Iterator[Problem]:
    """Words that do not hold, when they are read, what the cluster they are read for takes. KV caches count as one word
    each: a pass reads the rows that it appends, too. Waits are right already, so the order of tasks decides."""
    held = {name: np.full(buffer.words, OUTSIDE if (program, buffer.memory) == (HEAD, _STREAM) else "", object)
            for name, buffer in plan.buffers.items()}  # fmt: skip
    hazards, caches, rotations = Hazards(plan.buffers), dict[str, str](), ""
    for task in tasks:
        if task.engine == "heads" and HEAD_MODES[task.fields["mode"]] == "rotations" and task.parameters is not None:
            rotations = task.parameters.region
        if task.rotations and task.rotations != rotations:
            got = rotations or "none"
            yield (
                task,
                f"expected RoPE's rows of {task.rotations} loaded before, got {got}; add the task that loads them",
            )
        for name, wanted in task.values.items():
            if name not in held:
                if caches.get(name) != wanted:
                    yield task, f"expected the rows of {wanted} in {name}, got none; dispatch them first"
                continue
            span = task.span(plan.buffers[name].words)
            words = held[name][span.start : span.stop]
            if (words != wanted).any():
                at = int(np.argmax(words != wanted))
                yield (
                    task,
                    (
                        f"expected {name} to hold the result of {wanted} in word "
                        f"{span.start + at}, got that of "
                        f"{words[at] or 'nothing'}; dispatch it at another place"
                    ),
                )
        for name in task.writes:
            if name not in held:
                caches[name] = task.cluster
                continue
            for other in held:
                if other != name and hazards.overlap(task, name, task, other):
                    held[other][:] = task.cluster  # which of its words depends on the tokens of a pass
            span = task.span(plan.buffers[name].words)
            held[name][span.start : span.stop] = task.cluster
    yield from _left(plan, program, held)


def _left(plan: Plan, program: str, held: dict[str, np.ndarray]) -> Iterator[Problem]:
    """The head finds the residual stream as the last cluster of the program before it leaves it."""
    streamed = [name for name, buffer in plan.buffers.items() if buffer.memory == _STREAM]
    streams = [task.cluster for task in plan.program(program) if set(streamed) & set(task.writes)]
    if program == HEAD or HEAD not in plan.programs or not streams:
        return
    if not any((words == streams[-1]).all() for name, words in held.items() if plan.buffers[name].memory == _STREAM):
        yield (
            None,
            f"{program}: expected memory {_STREAM} to hold the result of {streams[-1]} at its end, got another; "
            "dispatch it last",
        )
