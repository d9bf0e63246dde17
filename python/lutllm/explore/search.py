"""`lutllm explore`: a space of configurations in; those that are best, each with its estimate and its file, out.

A Pareto local search: the target's own point first, then the neighbours of the best points known, best first, in waves,
until as many as allowed are estimated or every neighbour is. Nothing stands in for the estimator. A local search proves
no optimum; what it finds is no worse than every neighbour of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from lutllm import store
from lutllm.cpu.features import cores
from lutllm.errors import InputError
from lutllm.explore.evaluate import Job, evaluate
from lutllm.explore.space import Point, Space
from lutllm.progress import progress
from lutllm.workers import pool

OBJECTIVES = {"decode": "decode_ms", "prefill": "prefill_ms", "area": "area"}
TIMES = ("decode_ms", "prefill_ms")
AREA = "area"  # the largest share of any resource
MEMORY, PORT = "memory", "port"  # shares of what the target's memory, and one of its weight ports, can move
WAVE = 12  # points that are estimated before the next are chosen


@dataclass
class Found:
    """A point: what it changes of the target, its file, and its estimate, in which `limits` are asked for."""

    point: Point
    changes: dict[str, Any]
    file: str
    estimate: dict[str, Any]
    path: Path
    simulated: dict[str, Any] | None = None

    def value(self, name: str) -> float:
        if name == AREA:
            return max(values["share"] for values in self.estimate["resources"].values())
        if name in TIMES:
            return float(self.estimate[name])
        if name in (MEMORY, PORT):
            return float(self.estimate["hbm_busy"] if name == MEMORY else self.estimate["port_busy"])
        return float(self.estimate["resources"][name]["share"])

    def excess(self, limits: Mapping[str, float]) -> dict[str, float]:
        """By how much each limit is exceeded, as a share of it."""
        over = {name: self.value(name) / limit - 1 for name, limit in limits.items()}
        return {name: share for name, share in over.items() if share > 0}

    def to_dict(self) -> dict[str, Any]:
        config = {"config": self.path.name, "changes": self.changes}
        return {**self.estimate, **config, "simulated": self.simulated}


@dataclass
class Search:
    """`limits`: of shares of resources and memory, of milliseconds. `points` estimated at most, in `directory`, where
    those of before are found again; `tried`, `refused` as they come."""

    space: Space
    job: Job
    objective: str
    limits: dict[str, float]
    directory: Path
    most: int = 60
    quiet: bool = False
    tried: dict[Point, Found] = field(default_factory=dict)
    refused: dict[Point, str] = field(default_factory=dict)

    def run(self, cluster: str | None = None) -> list[Found]:
        """The front of feasible points, the best first. `InputError` where there is none."""
        # Not forked: MLIR's and numba's threads do not survive that.
        spawned = partial(ProcessPoolExecutor, min(cores(), self.most), mp_context=get_context("spawn"))
        with pool(cluster, spawned) as executor:
            for _ in progress(self._points(executor), "explore", total=self.most, quiet=self.quiet):
                pass
        feasible = [found for found in self.tried.values() if not found.excess(self.limits)]
        if not feasible:
            raise InputError(self._why())
        return self.front(feasible)

    def front(self, points: Iterable[Found]) -> list[Found]:
        """Those that none beats in the objective and in area - of area in time -, the best first."""
        second = AREA if self.objective != AREA else TIMES[0]
        names = (OBJECTIVES[self.objective], second)
        ordered = sorted(points, key=lambda found: (*(found.value(name) for name in names), found.path.name))
        front: list[Found] = []
        for found in ordered:
            if not front or found.value(second) < front[-1].value(second):
                front.append(found)
        return front

    def _points(self, executor: Executor) -> Iterator[Found | None]:
        """Estimates points, wave by wave; yields each as it is there."""
        wave, seen = [self.space.start], {self.space.start}
        while wave:
            for point, estimate in self._wave(wave, executor):
                self._take(point, estimate)
                yield self.tried.get(point)
            wave = []
            room = min(WAVE, self.most - len(self.tried) - len(self.refused))
            for point in self._open(seen):
                if len(wave) >= room:
                    break
                seen.add(point)
                wave.append(point)

    def _open(self, seen: set[Point]) -> Iterator[Point]:
        """Neighbours not seen yet: of the best point, then of those of the front, of all if none is feasible."""
        feasible = [found for found in self.tried.values() if not found.excess(self.limits)]
        if feasible:
            order = self.front(feasible)
        else:
            order = sorted(self.tried.values(), key=lambda found: sum(found.excess(self.limits).values()))
        for found in order:
            yield from (point for point in self.space.neighbours(found.point) if point not in seen)

    def _wave(self, wave: list[Point], executor: Executor) -> Iterator[tuple[Point, dict[str, Any]]]:
        begun: dict[Future[dict[str, Any]], tuple[Point, Path]] = {}
        for point in wave:
            job = self.of(point)
            known = self._path(job).with_suffix(".json")
            if known.is_file():
                yield point, json.loads(known.read_text())
            else:
                begun[executor.submit(evaluate, job)] = point, known
        for made, (point, path) in begun.items():
            store.write_json(path, made.result())
            yield point, made.result()

    def _take(self, point: Point, estimate: dict[str, Any]) -> None:
        if "refused" in estimate:
            self.refused[point] = estimate["refused"]
            return
        job = self.of(point)
        store.write_atomic(self._path(job), job.file.encode())
        self.tried[point] = Found(point, self.space.changes(point), job.file, estimate, self._path(job))

    def of(self, point: Point) -> Job:
        return replace(self.job, file=self.space.file(point))

    def _path(self, job: Job) -> Path:
        return self.directory / "points" / f"{job.key}.toml"

    def _why(self) -> str:
        """What cannot be had, by how much, and what comes nearest."""
        if not self.tried:
            return f"{self.space.like}: expected an accelerator, got none: {next(iter(self.refused.values()))}"
        nearest = min(self.tried.values(), key=lambda found: max(found.excess(self.limits).values()))
        excess = nearest.excess(self.limits)
        name = max(excess, key=excess.__getitem__)
        got, limit = nearest.value(name), self.limits[name]
        unit = "ms" if name in TIMES else "of what there is"
        more = ""
        if name in nearest.estimate["resources"]:
            available = nearest.estimate["resources"][name]["available"]
            more = f", {round((got - limit) * available):,} {name} too many"
        changes = ", ".join(f"{key} = {value}" for key, value in nearest.changes.items()) or "the target's own"
        return (
            f"expected {name} of at most {limit:g} {unit}, got {got:.4g} at the nearest of {len(self.tried)} points "
            f"({excess[name]:.0%} over{more}): {changes}; allow that with --limit {name}={_up(got)}, "
            f"or take {nearest.path}"
        )


def _up(value: float) -> str:
    """In few digits, not below it."""
    return f"{value * 1.0001 + 0.00005:.4f}".rstrip("0")
