"""`lut-verify-schedule`: a scheduled module in, the same out, or the first thing in it that would not work in hardware."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.errors import CapacityError
from lutllm.lowering.place.clusters import Cluster, clusters_of
from lutllm.lowering.schedule.check import problems
from lutllm.lowering.schedule.descriptors import list_region, list_words
from lutllm.lowering.schedule.lut_schedule import runs_of_cluster
from lutllm.lowering.schedule.read import Reader, read_plan
from lutllm.passes import Pass
from lutllm.passes.walk import attributes_text


@dataclass(frozen=True)
class LutVerifySchedule(Pass):
    """Work out from the IR alone whether hardware would compute what the clusters say: hazards, capacities, the order of
    streams, what every word holds when it is read, that clusters have their tasks, and what they share is alike."""

    name: ClassVar[str] = "lut-verify-schedule"
    anchor: ClassVar[str | None] = "builtin.module"

    def run(self, op: ir.Operation) -> None:
        reader = Reader(op)
        ops: dict[str, Any] = {}
        for program, function in reader.functions.items():
            self._complete(reader, function)
            for task, (_, task_op) in zip(reader.tasks(program), reader.runs(function), strict=True):
                ops[task.name] = task_op
        self._shared(reader)
        plan = read_plan(op)
        for task, message in problems(plan):
            self.fail(op if task is None else ops[task.name], message)
        for program in plan.programs:
            region, words = (
                plan.regions.get(list_region(program)),
                sum(list_words(t, plan.config) for t in plan.program(program)),
            )
            if region is not None and region.size != 8 * max(1, words):
                self.fail(reader.functions[program], f"expected a region {region.name} of {8 * max(1, words)} bytes for its tasks, "
                          f"got {region.size}; run lut-serialize")  # fmt: skip

    def _complete(self, reader: Reader, function: Any) -> None:
        """Every cluster has each of its tasks once."""
        got = Counter((run.cluster.label, run.engine, run.round) for run, _ in reader.runs(function) if run.cluster)
        for cluster in clusters_of(function):
            for run in runs_of_cluster(cluster):
                count = got[cluster.label, run.engine, run.round]
                if count != 1:
                    part = "" if run.round is None else f" for round {run.round}"
                    self.fail(
                        cluster.op, f"expected one task of engine {run.engine}{part}, got {count}; schedule it again"
                    )

    def _shared(self, reader: Reader) -> None:
        """What several clusters read in one region must be the same bytes, and large enough."""
        first: dict[str, tuple[str, Cluster]] = {}
        for function in reader.functions.values():
            for cluster in clusters_of(function):
                for name, key in self._keys(reader, cluster):
                    if name not in reader.regions and name not in reader.round_ops:
                        self.fail(cluster.op, f"expected @{name} in the module, got none; run lut-allocate")
                    known, other = first.setdefault(name, (key, cluster))
                    if known != key:
                        self.fail(cluster.op, f"expected the same contents of @{name} as '{other.label}' has, got others; "
                                  "give it one of its own")  # fmt: skip

    def _keys(self, reader: Reader, cluster: Cluster) -> list[tuple[str, str]]:
        """(name, what decides its bytes) of the regions and rounds of a cluster."""
        found = []
        text = contents(reader, cluster)
        for attribute in ("parameters", "region"):
            name = cluster.symbol(attribute)
            if name is not None:
                found.append((name, text))
        for name in cluster.rounds:
            try:
                round_ = reader.round(cluster, name)
            except CapacityError as problem:
                self.fail(reader.round_ops[name], problem.message)
            assert cluster.linear is not None
            x = Cluster(cluster.linear.x.owner.opview)
            layouts = [reader.layouts[c.symbol("layout") or ""] for c in (x, cluster)]
            found.append((name, f"{round_} {cluster.linear.scheme} {layouts}"))
        return found


def contents(reader: Reader, cluster: Cluster) -> str:
    """What decides the bytes of a cluster's parameters: its ops but for the number of tokens, and its layout."""
    parts = []
    for op in cluster.ops:
        values = [*op.operation.operands, *op.operation.results]
        parts.append(
            (op.operation.name, attributes_text(op.operation), [dialect.fixed_of(value.type) for value in values])
        )
    reps = cluster.op.optional("reps")
    return f"{parts} {reader.layouts[cluster.symbol('layout') or '']} {reps}"
