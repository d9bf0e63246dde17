"""The accelerator at transaction level: its plan and memory image in, tokens and what every task wrote out.

Task after task with exactly the golden model's integers, from the bytes of the image where hardware reads bytes; only
weights come as `QuantizedLinear`s, laid out as the module has them. `predicted` has the cycles.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lutllm.bindings import ir
from lutllm.errors import InputError
from lutllm.lowering.export.image.whole import physical_linear, whole_image
from lutllm.lowering.place.clusters import clusters_of
from lutllm.lowering.schedule.data import Plan, Task
from lutllm.lowering.schedule.read import Reader, read_plan
from lutllm.passes.lut_outline_head import HEAD
from lutllm.scheme import QuantizedLinear
from lutllm.simulate.transactions.chip import Chip, Written
from lutllm.simulate.transactions.functions import FUNCTIONS, Job, linear_round, words_taken
from lutllm.simulate.transactions.order import TaskOrder
from lutllm.simulate.transactions.passes import Pass, prompt_passes


@dataclass(frozen=True, eq=False)
class TaskResult:
    """What `task` wrote in list number `turn` of the run, in order."""

    turn: int
    run: Pass
    task: Task
    written: tuple[Written, ...]


@dataclass
class TransactionRun:
    """`tokens` made; `error` by the name the STATUS register gives it; the lists that ran."""

    tokens: list[int]
    error: str = "none"
    passes: list[Pass] = field(default_factory=list)


class TransactionSimulator:
    """One accelerator with one image. `linears` by round, laid out physically; `listener` is told of every task as it
    is done. `late`: execute tasks as late as their waits allow, instead of as soon as they can (see `TaskOrder`)."""

    def __init__(
        self,
        plan: Plan,
        image: np.ndarray,
        linears: Mapping[str, QuantizedLinear],
        *,
        listener: Callable[[TaskResult], None] | None = None,
        late: bool = False,
    ) -> None:
        self.plan, self.linears, self.listener, self.late = plan, linears, listener, late
        self.chip = Chip(plan.config, image)
        self.turn = 0
        self.sequence: list[int] = []

    @classmethod
    def of(
        cls,
        module: ir.Module,
        tensors: Mapping[str, np.ndarray],
        image: np.ndarray | None = None,
        *,
        listener: Callable[[TaskResult], None] | None = None,
        late: bool = False,
    ) -> TransactionSimulator:
        """Of a scheduled module and the arrays it names; without `image` it is made of them."""
        image = whole_image(module, tensors) if image is None else image
        return cls(read_plan(module), image, physical_linears(module, tensors), listener=listener, late=late)

    def generate(
        self, prompt: Sequence[int], tokens: int, *, stops: Collection[int] = (), position: int = 0
    ) -> TransactionRun:
        """Read `prompt` from `position` of the sequence on and make up to `tokens` tokens, greedily; ends after any
        of `stops`. Errors are those of the hardware, but memory's; the run ends with them."""
        self.sequence[position:] = map(int, prompt)
        run, length = TransactionRun([]), len(self.sequence)
        if not position < length <= self.plan.context or position + len(prompt) != length:
            run.error = "prompt"
            return run
        self.turn = 0
        for each in prompt_passes(position, length, self.plan.config.tokens):
            if not self._pass(run, each):
                return run
        while len(run.tokens) < tokens:
            self._list(run, Pass(HEAD, run.passes[-1].tokens, length))
            token = self.chip.token
            run.tokens.append(token)
            self.sequence.append(token)
            if len(run.tokens) == tokens or token in stops:
                break
            if length == self.plan.context:
                run.error = "context"
                break
            if not self._pass(run, Pass("decode", 1, length)):
                break
            length += 1
        return run

    def _pass(self, run: TransactionRun, each: Pass) -> bool:
        """Read some tokens of the sequence; False where one is no token."""
        ids = np.array(self.sequence[each.position : each.position + each.tokens])
        if ids.min() < 0 or ids.max() >= self.plan.vocabulary:
            run.error = "token"
            return False
        self.chip.ids[each.position : each.position + each.tokens] = ids
        self._list(run, each)
        return True

    def _list(self, run: TransactionRun, each: Pass) -> None:
        """Execute one task list; everything is done at its end."""
        run.passes.append(each)
        order = TaskOrder(
            lambda job: self._execute(each, job), lambda job: words_taken(self.plan.config, job), late=self.late
        )
        for task in self.plan.program(each.program):
            order.dispatch(self._job(each, task))
        order.drain()
        left = [name for name, words in self.chip.streams.items() if words]
        if left:
            raise InputError(f"{each.program}: expected streams to be empty after it, got words in {', '.join(left)}")
        self.turn += 1

    def _job(self, each: Pass, task: Task) -> Job:
        tokens = 1 if task.single else each.tokens
        p = task.parameters
        if p is None:
            return Job(task, tokens, each.position)
        address = self.plan.regions[p.region].address + p.offset + each.position * p.stride
        return Job(task, tokens, each.position, address, p.beats * (each.tokens if task.per_token else 1))

    def _execute(self, each: Pass, job: Job) -> tuple[Written, ...]:
        if job.task.engine == "linear":
            round_ = self.plan.rounds[job.task.round]
            linear_round(self.chip, round_, self.linears[round_.name])
        else:
            FUNCTIONS[job.task.engine](self.chip, job)
        written, self.chip.written = tuple(self.chip.written), []
        if self.listener is not None:
            self.listener(TaskResult(self.turn, each, job.task, written))
        return written


def physical_linears(module: ir.Module, tensors: Mapping[str, np.ndarray]) -> dict[str, QuantizedLinear]:
    """The linears of a module laid out as hardware has them, by round."""
    reader = Reader(module.operation)
    found: dict[str, QuantizedLinear] = {}
    for cluster in (c for function in reader.functions.values() for c in clusters_of(function)):
        if cluster.rounds and cluster.rounds[0] not in found:
            found |= dict.fromkeys(cluster.rounds, physical_linear(reader, cluster, tensors))
    return found
