"""Where the cycles of a token go: the plan and the records of some lists in; cycles by part, round and port out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lutllm.cost.traffic import task_traffic
from lutllm.lowering.machine.accelerator import ENGINES
from lutllm.lowering.place.rounds import stream_bytes
from lutllm.lowering.schedule.data import Plan, Task
from lutllm.report.gantt import kind_of
from lutllm.simulate.transactions.passes import Pass
from lutllm.simulate.transactions.records import TaskRecord

NOTHING = "nothing: lists end and begin"
TIGHT = 1.05  # a round that takes no more than this of its bound does not wait


def cycles_by_part(records: Sequence[TaskRecord], span: tuple[int, int]) -> dict[str, int]:
    """Every cycle of `span` once: to the linear that computes in it, or else to the first engine, in the order of the
    hardware, that has work."""
    edges = sorted({span[0], span[1], *(min(max(c, span[0]), span[1]) for r in records for c in (r.start, r.end))})
    places = {cycle: i for i, cycle in enumerate(edges)}
    order = {engine: i for i, engine in enumerate(ENGINES)}
    owner: list[str | None] = [None] * (len(edges) - 1)
    rank = [len(ENGINES)] * len(owner)
    for record in sorted(records, key=lambda r: (r.start, r.end)):
        label = kind_of(record) if record.engine == "linear" else f"engine {record.engine}"
        first, last = (places[min(max(c, span[0]), span[1])] for c in (record.start, record.end))
        for i in range(first, last):
            if order[record.engine] < rank[i]:
                owner[i], rank[i] = label, order[record.engine]
    found: Counter[str] = Counter()
    for i, mine in enumerate(owner):
        found[mine or NOTHING] += edges[i + 1] - edges[i]
    return dict(found.most_common())


@dataclass(frozen=True)
class RoundTime:
    """A round of a linear: cycles from the end of the round before to its own, the least that each thing it needs
    takes alone, and whose result it computes with."""

    name: str
    cycles: int
    bounds: Mapping[str, int]
    inputs: str

    @property
    def reason(self) -> str:
        bound = max(self.bounds, key=lambda name: self.bounds[name])
        least = self.bounds[bound]
        if self.cycles <= TIGHT * least:
            return f"{bound}: no faster on this machine"
        return f"{bound} takes {least:,}; {self.cycles - least:,} more until {self.inputs or 'its inputs'} is there"


def round_times(plan: Plan, each: Pass, records: Sequence[TaskRecord]) -> list[RoundTime]:
    """Of one list, in order."""
    tasks = {task.name: task for task in plan.program(each.program)}
    feeds = {task.round: task for task in tasks.values() if task.engine == "feed"}
    linears = sorted((r for r in records if r.engine == "linear" and r.task in tasks), key=lambda r: r.end)
    before = min((record.start for record in records), default=0)
    found = []
    for record in linears:
        task = tasks[record.task]
        inputs = next(iter(feeds[task.round].values.values()), "") if task.round in feeds else ""
        found.append(RoundTime(task.round, record.end - before, _bounds(plan, task, each), inputs))
        before = record.end
    return found


def _bounds(plan: Plan, task: Task, each: Pass) -> dict[str, int]:
    config, engine, r = plan.config, plan.config.engine, plan.rounds[task.round]
    tokens = 1 if task.single else each.tokens
    sizes, widths = stream_bytes(r, engine), engine.port_bits
    return {
        "lookups": r.groups * r.stages * r.chunks * tokens,
        "weights": -(-8 * sizes["w"] // widths["w"]),
        "parameters": -(-8 * sizes["q"] // widths["q"]),
        "results": r.chunks * engine.lanes // config.lanes * tokens,
    }


def port_rates(
    plan: Plan, passes: Sequence[tuple[int, Pass]], records: Sequence[TaskRecord], bins: int
) -> dict[str, np.ndarray]:
    """Beats a cycle of each port, in `bins` spans of the time of all records; `passes` by the turn of their records.
    The beats of a task count evenly over the cycles in which it runs, though they may have come before."""
    begin, end = min(r.start for r in records), max(r.end for r in records)
    width = {name[0]: bits for name, bits in plan.config.read_ports.items()}
    alike = Counter(name[0] for name in plan.config.read_ports)  # a beat comes on all of them
    width |= {f"{name} write": bits for name, bits in plan.config.write_ports.items()}
    found = {name: np.zeros(bins) for name in width}
    edges = np.linspace(begin, end, bins + 1)
    spans = {(record.turn, record.task): record for record in records}
    for turn, each in passes:
        for task in plan.program(each.program):
            record = spans.get((turn, task.name))
            if record is None:
                continue
            inside = np.clip(np.minimum(edges[1:], record.end) - np.maximum(edges[:-1], record.start), 0, None)
            for port, size in task_traffic(plan, task, each).items():
                name = port if port in found else f"{port} write"
                beats = 8 * size / width[name] / max(1, alike[name])
                found[name] += beats * inside / max(1, record.cycles)
    return {name: beats / max(1.0, (end - begin) / bins) for name, beats in found.items()}
