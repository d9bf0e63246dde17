"""What a configuration may change of a target: a target and schemes in, dimensions and points out.

Dimensions are the sizes that the one table of ranges knows, less those that the model's schemes decide anyway; each has
the target's own value, and its halves and doubles within the range. A point is a target's file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import permutations
from typing import Any

from lutllm.dialect.machines.limits import ENGINE_RANGES, MACHINE_RANGES, PORT_BITS, head_problems
from lutllm.errors import CapacityError
from lutllm.lowering.machine.choice import engine_for
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.lowering.machine.targets import Around, Target
from lutllm.scheme import Scheme

ENGINE, AROUND, PORTS, MODEL = "engine", "accelerator", "port_bits", "model"
ROW_SOURCE, BLOCK = "row_source", "block"  # of a target's `Choices`
_STEPS = 3  # halves, and doubles

Point = tuple[tuple["Dimension", Any], ...]


@dataclass(frozen=True)
class Dimension:
    """One thing to choose: a value `name` of a target's `table`, one of port_bits, or what the model is made with.
    `values` in the order in which they are neighbours; `own` is the target's."""

    table: str
    name: str
    values: tuple[Any, ...]
    own: Any


class Space:
    """All points around a target; `row_sources` of the schemes, and `blocks` of outputs that share a codebook where
    the model leaves them open."""

    def __init__(self, target: Target, like: str, schemes: Sequence[Scheme], blocks: Sequence[int] = ()) -> None:
        self.target, self.like = target, like
        self.dimensions = [*self._sizes(schemes), *self._ports(), *self._of_model(schemes, blocks)]
        self.start: Point = tuple((dimension, dimension.own) for dimension in self.dimensions)

    def _sizes(self, schemes: Sequence[Scheme]) -> Iterator[Dimension]:
        free = {name for name in ENGINE_RANGES if _decides(schemes, self.target.engine, name)}
        free -= set() if any(scheme.kind == "vq" for scheme in schemes) else {"chains"}  # of the centroid search
        ranges = {(ENGINE, name): ENGINE_RANGES[name] for name in ENGINE_RANGES if name in free}
        sizes = {field.name for field in fields(Around)} - {"context"}
        ranges |= {(AROUND, name): MACHINE_RANGES[name] for name in MACHINE_RANGES if name in sizes}
        for (table, name), (low, high) in ranges.items():
            own = getattr(self.target.engine if table == ENGINE else self.target.accelerator, name)
            steps = {own >> i for i in range(_STEPS + 1) if own % (1 << i) == 0} | {own << i for i in range(_STEPS + 1)}
            values = tuple(sorted(value for value in steps if low <= value <= high))
            if len(values) > 1:
                yield Dimension(table, name, values, own)

    def _ports(self) -> Iterator[Dimension]:
        widest = max(self.target.engine.port_bits.values())  # that the target's memory has
        for port, own in self.target.engine.port_bits.items():
            yield Dimension(PORTS, port, tuple(bits for bits in PORT_BITS if bits <= widest), own)

    def _of_model(self, schemes: Sequence[Scheme], blocks: Sequence[int]) -> Iterator[Dimension]:
        known = [source for source in self.target.engine.row_sources if any(source in s.row_sources for s in schemes)]
        if len(known) > 1:
            yield Dimension(MODEL, ROW_SOURCE, ("", *known), "")
        if len(blocks) > 1:
            yield Dimension(MODEL, BLOCK, tuple(blocks), blocks[0])

    def neighbours(self, point: Point) -> Iterator[Point]:
        """One step in one dimension; where that cannot be built, with a step in another that makes it possible."""
        steps = [(i, value) for i, (d, own) in enumerate(point) for value in _beside(d.values, own)]
        alone = {step for step in steps if self.possible(_with(point, step))}
        yield from (_with(point, step) for step in steps if step in alone)
        for step, other in permutations(steps, 2):
            if step not in alone and step[0] != other[0] and (other in alone or step < other):
                both = _with(point, step, other)
                if self.possible(both):
                    yield both

    def possible(self, point: Point) -> bool:
        """Whether hardware can be made like that."""
        values: dict[str, Any] = asdict(self.target.engine)
        for dimension, value in point:
            if dimension.table == ENGINE:
                values[dimension.name] = value
            elif dimension.table == PORTS:
                values[PORTS] = values[PORTS] | {dimension.name: value}
        try:
            engine = EngineConfig(**values)
        except CapacityError:
            return False
        around = vars(self.target.accelerator) | {d.name: value for d, value in point if d.table == AROUND}
        return not any(head_problems(around | {"head_words": around["head_lanes"]}, engine.requant_lanes))

    def changes(self, point: Point) -> dict[str, Any]:
        """What a point has unlike the target, by the names of dimensions."""
        return {dimension.name: value for dimension, value in point if value != dimension.own}

    def file(self, point: Point) -> str:
        """The point as a target's file: what is unlike the target."""
        changed: Mapping[str, list[str]] = {ENGINE: [], AROUND: [], PORTS: [], MODEL: []}
        for dimension, value in point:
            if dimension.table == PORTS or value != dimension.own:
                changed[dimension.table].append(f"{dimension.name} = {json.dumps(value)}")
        lines = [f'summary = "{self.like}, as a search changed it"', f'like = "{self.like}"']
        ports = any(value != dimension.own for dimension, value in point if dimension.table == PORTS)
        engine = [*changed[ENGINE], *([f"{PORTS} = {{ {', '.join(changed[PORTS])} }}"] if ports else [])]
        sources = []
        for table, values in {AROUND: changed[AROUND], ENGINE: engine, MODEL: changed[MODEL]}.items():
            if values:
                lines += ["", f"[{table}]", *values]
                sources.append(f'{table} = "found by lutllm explore"')
        return "\n".join([*lines, "", "[sources]", *sources, ""])


def _decides(schemes: Sequence[Scheme], engine: EngineConfig, name: str) -> bool:
    """Whether an engine for the schemes has the target's own size, whatever that is. Widths of integers are the
    model's."""
    if name.endswith("_bits"):
        return False
    low, high = ENGINE_RANGES[name]
    found = set()
    own = getattr(engine, name)
    for value in {own, 2 * own, own // 2, low, high}:
        try:
            found.add(getattr(engine_for(list(schemes), replace(engine, **{name: value})), name) == value)
        except CapacityError:
            continue
    return low < high and found == {True}


def _beside(values: Sequence[Any], own: Any) -> list[Any]:
    at = values.index(own)
    return [values[i] for i in (at - 1, at + 1) if 0 <= i < len(values)]


def _with(point: Point, *steps: tuple[int, Any]) -> Point:
    changed = dict(steps)
    return tuple((dimension, changed.get(i, value)) for i, (dimension, value) in enumerate(point))
