"""Which numbers of the model hardware's words hold: what a task wrote in; ops, tokens and PyTorch's channels out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lutllm.diff.difference import Difference
from lutllm.lowering.machine.accelerator import SINKS
from lutllm.lowering.place.layouts import PAD
from lutllm.lowering.place.patterns import ENDS
from lutllm.lowering.schedule.data import Plan, Task
from lutllm.passes.lut_outline_head import HEAD
from lutllm.simulate.transactions.chip import Written
from lutllm.simulate.transactions.passes import Pass
from lutllm.simulate.transactions.simulator import TaskResult

Part = tuple[Written, np.ndarray, np.ndarray]  # words of a task, what they should be, what they are
LINEAR = "lut.linear"


def ops_of(plan: Plan, task: Task) -> str:
    """The ops whose result a task writes, as text; the steps of a linear by the name of what they were."""
    ops = plan.works[task.program, task.cluster].ops
    if task.round:
        return ops[-1] if task.engine in SINKS and ops[-1] not in ENDS else LINEAR
    return " + ".join(ops) or "lut.cluster"  # of engine load, which computes nothing


def first_token(run: Pass) -> int:
    """The token of the sequence that a pass begins with; the head works on the last of the pass before it."""
    return run.position - 1 if run.program == HEAD else run.position


def elements_of(plan: Plan, result: TaskResult, written: Written) -> tuple[np.ndarray, np.ndarray]:
    """(tokens [n], channels [n, lanes]) of words that a task wrote: the token of each word, from the start of the
    sequence, and the channel of each lane; PAD where there is none."""
    task, run, (count, lanes) = result.task, result.run, written.values.shape
    if written.memory in ("squares", "token"):
        return first_token(run) + written.addresses, np.full((count, lanes), PAD)
    layout, tokens = plan.works[task.program, task.cluster].layout, 1 if run.program == HEAD else run.tokens
    unit = layout.unit_size if task.engine == "heads" else lanes  # places of a token that lie side by side
    row, beat = np.divmod(np.arange(count), unit // lanes)
    number, token = np.divmod(row, tokens)
    place = number * unit + beat * lanes + (plan.rounds[task.round].first if task.round else 0)
    return first_token(run) + token, layout.places[place[:, None] + np.arange(lanes)]


def difference_in(plan: Plan, result: TaskResult, parts: Sequence[Part]) -> Difference | None:
    """The first element in which words of a task are not what they should be."""
    task, run = result.task, result.run
    differ = [want != got for _, want, got in parts]
    first = next((i for i, each in enumerate(differ) if each.any()), None)
    if first is None:
        return None
    written, want, got = parts[first]
    word, lane = (int(i) for i in np.argwhere(differ[first])[0])
    tokens, channels = elements_of(plan, result, written)
    channel = int(channels[word, lane])
    return Difference(
        op=ops_of(plan, task), module=task.source, task=task.name, engine=task.engine, turn=result.turn,
        program=run.program, position=run.position, tokens=run.tokens, token=int(tokens[word]),
        channel=None if channel == PAD else channel, memory=written.memory, address=int(written.addresses[word]),
        lane=lane, expected=int(want[word, lane]), got=int(got[word, lane]), count=sum(int(d.sum()) for d in differ),
        of=sum(d.size for d in differ),
    )  # fmt: skip
