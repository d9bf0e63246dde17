"""Depths of the accelerator's FIFOs: chosen by a linear program, proven by an exact checker of its own.

In: `fifos(config, latency)`. Out: depths, or an error that names the stream.

What is proven of each FIFO (the words of `Fifo`):

* No deadlock: depth >= `atomic`. A reader asks for a burst only when a whole one fits, a writer sends one only when all
  of it is here, attention begins a row only when it is whole; with less room that never happens. Everything else moves
  word by word, and tasks, orders and commands wait only for tasks that were dispatched before them.
* Full rate: there are start times s of all engines, one for each, such that every stream keeps to
  s(consumer) - s(producer) >= `latency` (a word is not there before), to the order of `STARTS`, and
  rate * (s(consumer) - s(producer) + hold) + slack <= depth (Little's law: the slots taken while a word is on its way).
  For a reader this is rate * round trip + one burst, for a pipeline behind a credit its length; and because an engine
  has one start for all its streams, one that waits for a stream has room for what comes meanwhile on the others.

The streams are a marked graph: an engine that moves as soon as it may is never later than one that keeps to a schedule
with the same FIFOs. So a schedule that exists proves the rate, without being followed. The LP minimises bits; rounding
its depths up keeps every inequality. `verify_depths` does not trust it: with the depths given, the inequalities bound
differences of start times, and such a system has no solution exactly if a cycle of bounds adds up above 0, which it
looks for in exact fractions.

Rates are those of a stream's busiest user and say nothing of what happens between two rounds or tasks; there a FIFO may
run full or empty, and the integration test measures what that costs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from math import ceil

from lutllm.errors import CapacityError
from lutllm.lowering.hardware.streams.fifos import STARTS, Fifo, fifos
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.machine.targets import MEMORY_LATENCY

_EXACT = 1e-6  # the solver's answers are floats: how far above an integer one may be


def with_depths(config: AcceleratorConfig, latency: int = MEMORY_LATENCY) -> AcceleratorConfig:
    """`config` with the cheapest depths that keep the full rate under this memory latency; verified."""
    chosen = choose_depths(fifos(config, latency))
    engine = replace(config.engine, codes_depth=chosen.pop("codes"))
    sized = replace(config, engine=engine, depths=chosen)
    verify_depths(fifos(sized, latency))
    return sized


def _starts(nodes: Iterable[str]) -> list[tuple[str, str]]:
    """Those of `STARTS` among `nodes`."""
    there = set(nodes)
    return [(earlier, later) for earlier, later in STARTS if {earlier, later} <= there]


def choose_depths(streams: list[Fifo]) -> dict[str, int]:
    """A depth for each FIFO that has one to choose, with the fewest bits in all."""
    from scipy.optimize import linprog  # takes half a second to load

    sized = [f for f in streams if f.sized]
    nodes = sorted({node for f in streams for node in (f.producer, *f.consumers)})
    place = {node: i for i, node in enumerate(nodes)} | {f: len(nodes) + i for i, f in enumerate(sized)}
    size, rows, limits = len(place), [], []

    def at_most(limit: Fraction | int) -> list[float]:
        rows.append([0.0] * size)
        limits.append(float(limit))
        return rows[-1]

    for earlier, later in _starts(nodes):
        row = at_most(0)
        row[place[earlier]], row[place[later]] = 1, -1
    for f in streams:
        for consumer in f.consumers:
            row = at_most(-f.latency)
            row[place[f.producer]] += 1
            row[place[consumer]] -= 1
            row = at_most(-f.words(0) if f.sized else f.depth - f.words(0))
            row[place[f.producer]] -= float(f.rate)
            row[place[consumer]] += float(f.rate)
            if f.sized:
                row[place[f]] -= 1
    cost = [0.0] * len(nodes) + [float(f.bits * f.copies) for f in sized]
    bounds = [(0, None)] * len(nodes) + [(max(f.atomic, f.ahead), None) for f in sized]
    found = linprog(cost, A_ub=rows, b_ub=limits, bounds=bounds, method="highs")
    if found.status != 0:
        raise CapacityError(f"accelerator: expected depths of all streams, got none: {found.message}")
    depths = {f: ceil(found.x[place[f]] - _EXACT) for f in sized}
    return {f.name: -(-depth // f.unit) * f.unit for f, depth in depths.items()}


def verify_depths(streams: list[Fifo]) -> None:
    """Raise `CapacityError`, naming the stream, where an obligation is not met."""
    for f in streams:
        if f.depth < f.atomic:
            raise CapacityError(
                f"stream {f.name}: expected a depth of at least {f.atomic} words, what must be there at once, got "
                f"{f.depth}: a deadlock; enlarge it"
            )
        if f.depth % f.unit:
            raise CapacityError(f"stream {f.name}: expected a multiple of {f.unit} words, a burst, got {f.depth}")
        if f.depth < f.words(f.latency) or f.depth < f.ahead:
            why = f"{f.rate} a cycle" if f.rate else "all that may wait"
            raise CapacityError(
                f"stream {f.name}: expected a depth of at least {f.least} words for {why}, got {f.depth}: it would "
                "stall; enlarge it"
            )
    cycle = _contradiction(streams)
    if cycle:
        raise CapacityError(
            f"streams {', '.join(cycle)}: expected depths that fit together, got none that one start time of each "
            "engine allows; enlarge the first"
        )


def _contradiction(streams: list[Fifo]) -> list[str]:
    """The streams of bounds on start times that cannot all hold, the one with a depth too small first; or none.

    Bounds are edges s(to) >= s(from) + gap; a node that still rises after as many rounds as there are nodes is on, or
    behind, a cycle that adds up above 0.
    """
    nodes = {node for f in streams for node in (f.producer, *f.consumers)}
    edges = [(earlier, later, Fraction(0), "", False) for earlier, later in _starts(nodes)]
    for f in streams:
        for consumer in f.consumers:
            edges.append((f.producer, consumer, Fraction(f.latency), f.name, False))
            if f.lag is not None:
                edges.append((consumer, f.producer, -f.lag, f.name, True))
    start = {node: Fraction(0) for source, target, *_ in edges for node in (source, target)}
    because: dict[str, tuple[str, str, bool]] = {}
    risen = ""
    for _ in range(len(start) + 1):
        risen = ""
        for source, target, gap, name, is_depth in edges:
            if start[source] + gap > start[target]:
                start[target], because[target], risen = start[source] + gap, (source, name, is_depth), target
        if not risen:
            return []
    for _ in start:
        risen = because[risen][0]
    cycle, node = [], risen
    while True:
        node, name, is_depth = because[node]
        cycle.append((not is_depth, name))
        if node == risen:
            return list(dict.fromkeys(name for _, name in sorted(cycle) if name))
