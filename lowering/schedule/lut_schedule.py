"""`lut-schedule`: clusters with places in; one task for each run of an engine, in order, with what it waits for,
out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lutllm.bindings import func, ir
from lutllm.dialect.machines import builders as build
from lutllm.errors import CapacityError
from lutllm.lowering.place.clusters import Cluster, clusters_of
from lutllm.lowering.schedule.data import Task
from lutllm.lowering.schedule.read import Reader, Run
from lutllm.lowering.schedule.waits import hoisted, needed
from lutllm.passes import Pass


@dataclass(frozen=True)
class LutSchedule(Pass):
    """Write the tasks of every function: in the order of its clusters, linears moved ahead so that their weights come
    in time, each waiting for no more than it must.

    Tasks that stand there already are scheduled anew.
    """

    name: ClassVar[str] = "lut-schedule"
    anchor: ClassVar[str | None] = "builtin.module"

    def run(self, op: ir.Operation) -> None:
        reader = Reader(op)
        for name, function in reader.functions.items():
            for old in reversed([task for _, task in reader.runs(function)]):
                old.operation.erase()
            self._function(reader, name, function)

    def _function(self, reader: Reader, name: str, function: Any) -> None:
        places = reader.places(function)
        tasks: list[Task] = []
        runs: dict[int, Run] = {}  # by the task's identity
        for run in runs_of(reader, function):
            try:
                task = reader.task(name, places, run)
            except CapacityError as problem:
                self.fail(run.cluster.op if run.cluster else function, f"cannot be scheduled: {problem.message}")
            tasks.append(task)
            runs[id(task)] = run
        ordered = hoisted(tasks)
        tokens: list[ir.Value] = []
        try:
            waits = list(needed(ordered, reader.buffers))
        except CapacityError as problem:
            self.fail(function, f"cannot be scheduled: {problem.message}")
        with ir.InsertionPoint.at_block_terminator(function.entry_block):
            for task, after in zip(ordered, waits, strict=True):
                tokens.append(self._write(function, runs[id(task)], [tokens[i] for i in after]))

    def _write(self, function: func.FuncOp, run: Run, after: Sequence[ir.Value]) -> ir.Value:
        if run.cluster is None:
            with function.location:
                position = position_of(function)
                return build.task(position, run.engine, after, parameters=run.parameters)
        with run.cluster.op.location:
            return build.task(run.cluster.result, run.engine, after, round=run.round)


def position_of(function: Any) -> ir.Value:
    """The position a function takes, as RoPE reads it."""
    for cluster in clusters_of(function):
        rope = cluster.find("lut.rope")
        if rope is not None:
            return rope.position
    raise AssertionError("no RoPE in this function")


def runs_of(reader: Reader, function: Any) -> Iterator[Run]:
    """The tasks of a function in the order of its clusters. RoPE's rows of a pass are loaded first of all, and again
    where others are needed."""
    clusters = clusters_of(function)
    loads = [_rotations(reader, cluster) for cluster in clusters]
    loaded = next((run for run in loads if run is not None), None)
    if loaded is not None:
        yield loaded
    for cluster, load in zip(clusters, loads, strict=True):
        if load is not None and load != loaded:
            yield load
            loaded = load
        yield from runs_of_cluster(cluster)


def _rotations(reader: Reader, cluster: Cluster) -> Run | None:
    """The task that loads RoPE's rows for a cluster."""
    if cluster.find("lut.rope") is None:
        return None
    region = cluster.named("region", reader.regions)
    return Run(None, "heads", parameters=region.name, words=reader.rotation_words(cluster))


def runs_of_cluster(cluster: Cluster) -> Iterator[Run]:
    if cluster.linear is None:
        for engine in cluster.engines:
            yield Run(cluster, engine)
        return
    if not cluster.rounds:
        raise cluster.missing("round")
    for i in range(len(cluster.rounds)):
        for engine in ("linear", "feed", cluster.last):
            yield Run(cluster, engine, i)
