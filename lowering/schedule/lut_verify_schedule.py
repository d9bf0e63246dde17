"""`lut-verify-schedule`: a scheduled module in, the same out, or the first thing in it that would not work in
hardware."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

from lutllm.bindings import ir
from lutllm.errors import CapacityError
from lutllm.lowering.machine.form import machine_op, read_machine
from lutllm.lowering.place.clusters import clusters_of
from lutllm.lowering.schedule import check_places
from lutllm.lowering.schedule.check import problems
from lutllm.lowering.schedule.descriptors import list_region
from lutllm.lowering.schedule.lut_schedule import runs_of_cluster
from lutllm.lowering.schedule.read import Reader, read_plan
from lutllm.passes import Pass


@dataclass(frozen=True)
class LutVerifySchedule(Pass):
    """Work out from the IR alone whether hardware would compute what the clusters say: hazards, capacities, the order
    of streams, what every word holds when it is read, that clusters have their tasks, and what they share is alike."""

    name: ClassVar[str] = "lut-verify-schedule"
    anchor: ClassVar[str | None] = "builtin.module"

    def run(self, op: ir.Operation) -> None:
        reader = Reader(op)
        ops: dict[str, Any] = {}
        for function in reader.functions.values():
            self._complete(reader, function)
        for place, message in check_places.problems(reader):
            self.fail(place, message)
        for program, function in reader.functions.items():
            for task, (_, task_op) in zip(reader.tasks(program), reader.runs(function), strict=True):
                ops[task.name] = task_op
        self._streams(op)
        plan = read_plan(op)
        for at, message in problems(plan):
            self.fail(op if at is None else ops[at.name], message)
        for program in plan.programs:
            region = plan.regions.get(list_region(program))
            size = 8 * max(1, sum(plan.config.task_words(task.engine) for task in plan.program(program)))
            if region is not None and region.size != size:
                self.fail(
                    reader.functions[program],
                    f"expected a region {region.name} of {size} bytes for its tasks, got {region.size}; "
                    "run lut-serialize",
                )

    def _streams(self, op: ir.Operation) -> None:
        """FIFOs that were given depths must be deep enough."""
        from lutllm.lowering.hardware.streams.depths import verify_depths  # CIRCT, which other passes do not need
        from lutllm.lowering.hardware.streams.fifos import fifos

        machine = read_machine(op)
        try:
            if machine.config.depths:
                verify_depths(fifos(machine.config, machine.latency))
        except CapacityError as problem:
            self.fail(machine_op(op) or op, problem.message)

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
