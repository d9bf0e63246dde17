"""The interpreter on a scheduled module beside its tasks: every cluster's value, word for word, in program order.

A cluster's value is what its last engine writes; that of the end of a linear in it, what LutLinear gives, and of a norm
that is added, what engine norm gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lutllm import interpreter
from lutllm.bindings import ir
from lutllm.dialect import ClusterOp
from lutllm.diff.difference import Comparison
from lutllm.diff.elements import Part, difference_in, elements_of, first_token
from lutllm.diff.recording import Recording
from lutllm.lowering.machine.accelerator import X_BITS
from lutllm.lowering.place.clusters import Cluster, consumers
from lutllm.lowering.place.layouts import PAD
from lutllm.lowering.place.patterns import KEPT, NORM_ADD
from lutllm.lowering.schedule.read import Reader
from lutllm.passes.lut_outline_head import HEAD
from lutllm.progress import note
from lutllm.simulate.transactions.chip import rows_of
from lutllm.simulate.transactions.passes import Pass
from lutllm.simulate.transactions.simulator import TaskResult

Values = tuple[np.ndarray | None, np.ndarray]  # of what its first engine gives and of a cluster, [tokens, channels]


def compare_golden(recorded: Recording, *, quiet: bool = True) -> Comparison:
    """The golden model, pass by pass, beside what the tasks wrote."""
    found = Comparison(("lut", "transaction"))
    golden = _Golden(recorded)
    for turn, each in enumerate(recorded.passes):
        note(f"lut: list {turn + 1} of {len(recorded.passes)}", quiet=quiet)
        results = [result for result in recorded.results if result.turn == turn]
        for label, values in golden.run(each).items():
            for result in (r for r in results if r.task.cluster == label):
                parts = _parts(recorded, result, *values)
                found.steps += bool(parts)
                found.numbers += sum(got.size for _, _, got in parts)
                found.difference = difference_in(recorded.plan, result, parts)
                if found.difference is not None:
                    return found
    return found


def _parts(recorded: Recording, result: TaskResult, first: np.ndarray | None, value: np.ndarray) -> list[Part]:
    """The words that a task should have written, and those that it wrote; sums of squares are no numbers of it."""
    value = first if first is not None and result.task.engine in ("linear", "norm", "embed") else value
    parts: list[Part] = []
    for written in result.written:
        tokens, channels = elements_of(recorded.plan, result, written)
        if written.memory == "token":
            parts.append((written, value, written.values))
        elif written.memory != "squares":
            want = value[(tokens - first_token(result.run))[:, None], np.maximum(channels, 0)]
            parts.append((written, np.where(channels == PAD, 0, want), written.values))
    return parts


def _is_added(op: Any) -> bool:
    """Whether it is a norm whose result engine norm gives another engine of its cluster."""
    return op.operation.name == "lut.rms_norm" and Cluster(op.operation.parent.opview).engines == NORM_ADD


class _Golden:
    """The interpreter with what it keeps between passes: caches by region, and what the last pass returned."""

    def __init__(self, recorded: Recording) -> None:
        self.recorded, self.reader = recorded, Reader(recorded.module.operation)
        self.places = {name: self.reader.places(function) for name, function in self.reader.functions.items()}
        self.caches: dict[str, np.ndarray] = {}
        self.returned: list[np.ndarray] = []

    def run(self, each: Pass) -> dict[str, Values]:
        """The clusters of a pass by label, in order."""
        name = each.program if each.program in self.reader.functions else "prefill"
        arguments = self.reader.functions[name].entry_block.arguments
        inputs = [self._input(name, argument, each) for argument in arguments]
        found: dict[str, Values] = {}
        first: np.ndarray | None = None

        def trace(op: Any, value: Any) -> None:
            nonlocal first
            if op.operation.name in KEPT or _is_added(op):
                first = value
            elif isinstance(op, ClusterOp):
                cluster = Cluster(op)
                if cluster.cache is not None:
                    self.caches[self.places[name].cache(cluster)] = value
                    value = value[each.position : each.position + each.tokens]
                found[cluster.label], first = (first, value.reshape(len(value), -1)), None

        recorded = self.recorded
        self.returned = interpreter.run(recorded.module, inputs, recorded.tensors, function=name, trace=trace)
        return found

    def _input(self, name: str, argument: ir.BlockArgument, each: Pass) -> np.ndarray:
        """What an argument is in a pass: a cache, what the pass before left, ids, the position or rows from outside."""
        region = self.places[name].region_of.get(argument.arg_number)
        if region is not None:
            return self.caches.setdefault(region, np.zeros(ir.RankedTensorType(argument.type).shape, np.int64))
        if each.program == HEAD:
            return self.returned[argument.arg_number]
        if any(use.owner.operation.name == "lut.embedding" and not use.operand_number for use in argument.uses):
            return np.array(self.recorded.sequence[each.position : each.position + each.tokens])
        loads = [cluster for cluster in consumers(argument) if cluster.last == "load"]
        return self._loaded(loads[0], each) if loads else np.array([each.position])

    def _loaded(self, cluster: Cluster, each: Pass) -> np.ndarray:
        """Rows as the image has them: pass by pass, word w of token t number w * tokens + t."""
        plan, layout = self.recorded.plan, self.places["prefill"].layout(cluster)
        row = layout.size * X_BITS // 8
        first = plan.regions[cluster.symbol("region") or ""].address + each.position * row
        rows = self.recorded.image[first : first + each.tokens * row].view("<i2")
        return layout.pick(rows_of(rows.reshape(-1, each.tokens, plan.config.lanes)))
