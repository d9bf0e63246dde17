"""Logic levels between registers, from hardware's structure: a design of the hw level in, its longest paths out.

A level is a 6-input LUT with an optimistic wire, and the count is a model: a gate of n inputs adds log6(n) levels, so
that gates in a row share LUTs as a mapper lets them; a multiplexer half a level; a sum or an unequal comparison a level
and its carries; a product what a DSP takes. Paths go on through instances: what is known of a module is what stands
between its ports and its registers.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil, log
from typing import Any

from lutllm.cost.area import REGISTERS, effective, inside, is_constant, maker
from lutllm.lowering.hardware.lib.circt import Design
from lutllm.lowering.hardware.lib.circt_bindings import hw, ir, port_names

SETUP_NS, LEVEL_NS = 0.5, 0.5  # of a period: registers and skew; a LUT and its wire
MUX, PRODUCT, READ = 0.5, 3.0, 1.0  # levels of a multiplexer, a DSP without registers, a read of a memory
CARRY = 1 / 64  # of a bit
_DEPTH = re.compile(r"uarray<(\d+)x")


@dataclass(frozen=True, order=True)
class Path:
    """`levels`, and the register or memory in which the path begins or ends: `unit.unit.register`."""

    levels: float
    place: str

    def plus(self, levels: float) -> Path:
        return Path(self.levels + levels, self.place)

    def inside(self, instance: str) -> Path:
        return Path(self.levels, f"{instance}.{self.place}")


Arrival = dict[str | None, Path]  # the longest path by the input that it comes from, or None where from a register


@dataclass(frozen=True)
class Longest:
    """A path between two registers of a module or of different modules below it."""

    levels: float
    begin: str
    end: str


@dataclass
class ModuleLevels:
    """By the module's clocks: its `longest` path, and for an input the longest way to a register (`inputs`). `outputs`:
    what comes before an output. `instances`: modules, and what their clocks are here."""

    longest: dict[str, Longest] = field(default_factory=dict)
    outputs: dict[str, Arrival] = field(default_factory=dict)
    inputs: dict[str, dict[str, Path]] = field(default_factory=dict)
    instances: list[tuple[str, dict[str, str]]] = field(default_factory=list)


def budget(mhz: float) -> int:
    """Levels between two registers that a clock allows: 7 at 250 MHz, 4 at 400 MHz."""
    return int((1000 / mhz - SETUP_NS) / LEVEL_NS + 1e-9)


def levels(design: Design) -> dict[str, ModuleLevels]:
    """Of every module of a design for SystemVerilog, by its name in the text."""
    limit, found = sys.getrecursionlimit(), dict[str, ModuleLevels]()
    modules = {m.attributes["sym_name"].value: m for m in design.mlir.body.operations}

    def visit(name: str) -> ModuleLevels:
        if name not in found:
            found[name] = _Module(modules[name], visit).own
        return found[name]

    try:
        sys.setrecursionlimit(100_000)
        with design.context:
            for name in modules:
                visit(name)
    finally:
        sys.setrecursionlimit(limit)
    return found


def slowest(found: Mapping[str, ModuleLevels], top: str, mhz: Mapping[str, float]) -> list[tuple[str, float, Longest]]:
    """Of each module the path that comes nearest to the budget of its clock, or goes farthest beyond: (module, MHz,
    path), the worst first. `mhz`: of the clocks of `top`."""
    clocks: dict[tuple[str, str], float] = {}

    def enter(name: str, given: Mapping[str, float]) -> None:
        new = {clock: one for clock, one in given.items() if one > clocks.get((name, clock), 0.0)}
        if new:
            clocks.update({(name, clock): one for clock, one in new.items()})
            for child, below in found[name].instances:
                enter(child, {clock: clocks[name, here] for clock, here in below.items()})

    enter(top, mhz)
    paths = [
        (name, clocks[name, clock], path)
        for name, own in found.items()
        for clock, path in own.longest.items()
        if (name, clock) in clocks
    ]
    worst: dict[str, tuple[str, float, Longest]] = {}
    for path in sorted(paths, key=lambda path: (budget(path[1]) - path[2].levels, path[0])):
        worst.setdefault(path[0], path)
    return list(worst.values())


class _Module:
    """Values are looked up backwards from where they are used, bits of them where ops keep bits apart."""

    def __init__(self, module: Any, visit: Callable[[str], ModuleLevels]) -> None:
        self.own, self._visit = ModuleLevels(), visit
        self._known: dict[tuple[Any, int, int], Arrival] = {}
        kind = hw.ModuleType(module.attributes["module_type"].value)
        self._inputs, self._outputs = kind.input_names, kind.output_names
        for op in module.regions[0].blocks[0].operations:
            self._ends(op.operation)

    def _ends(self, op: Any) -> None:
        """What paths end at in an op."""
        if op.name in REGISTERS:
            for value in op.operands:
                self._end(value, Path(0, op.attributes["name"].value), self._inputs[op.operands[1].arg_number])
        elif op.name == "sv.always":
            for value in {value for inner in inside(op) for value in inner.operands}:
                self._end(value, Path(0, "memory"), self._inputs[0])
        elif op.name == "hw.instance":
            made, name, ports = self._visit(_symbol(op)), op.attributes["instanceName"].value, port_names(op)
            clocks = {port: value for port, value in zip(ports, op.operands, strict=True) if not _is_data(value)}
            here = {port: self._inputs[value.arg_number] for port, value in clocks.items()}
            self.own.instances.append((_symbol(op), here))
            for port, value in zip(ports, op.operands, strict=True):
                for clock, path in made.inputs.get(port, {}).items():
                    self._end(value, path.inside(name), here[clock])
        elif op.name == "hw.output":
            for port, value in zip(self._outputs, op.operands, strict=True):
                self.own.outputs[port] = self._of(value)

    def _end(self, value: Any, end: Path, clock: str) -> None:
        for source, path in self._of(value).items():
            whole, longest = path.levels + end.levels, self.own.longest
            if source is not None:
                ways = self.own.inputs.setdefault(source, {})
                ways[clock] = max(ways.get(clock, Path(-1, "")), Path(whole, end.place))
            elif clock not in longest or whole > longest[clock].levels:
                longest[clock] = Longest(whole, path.place, end.place)

    def _of(self, value: Any, low: int = 0, high: int | None = None) -> Arrival:
        """The longest paths to bits low .. high - 1."""
        if not _is_data(value):
            return {}
        key = (value, low, value.type.width if high is None else high)
        if key not in self._known:
            self._known[key] = {}  # of a loop that is none bit by bit
            self._known[key] = self._find(*key)
        return self._known[key]

    def _find(self, value: Any, low: int, high: int) -> Arrival:
        op = maker(value)
        if op is None:
            name = self._inputs[value.arg_number]
            return {name: Path(0, name)}
        kind, operands = op.name.removeprefix("comb."), list(op.operands)
        if op.name in REGISTERS:
            return {None: Path(0, op.attributes["name"].value)}
        if op.name == "hw.instance":
            return self._through(op, value)
        if kind == "sv.read_inout":
            return self._read(operands[0].owner.operation)
        if kind == "extract":
            first = op.attributes["lowBit"].value
            return self._of(operands[0], first + low, first + high)
        if kind == "concat":
            return _latest(self._parts(operands, low, high))
        if kind in ("and", "or", "xor"):
            varying = [operand for operand in operands if not is_constant(operand)]
            return _later(_latest(self._of(operand, low, high) for operand in varying), log(len(varying) or 1, 6))
        if kind == "mux":
            select, *data = operands
            return _later(_latest([self._of(select), *(self._of(operand, low, high) for operand in data)]), MUX)
        return _later(_latest(map(self._of, operands)), _levels(kind, op))

    def _parts(self, operands: list[Any], low: int, high: int) -> Iterator[Arrival]:
        place = 0
        for operand in reversed(operands):
            width = operand.type.width
            if place < high and low < place + width:
                yield self._of(operand, max(0, low - place), min(width, high - place))
            place += width

    def _through(self, op: Any, value: Any) -> Arrival:
        made, name = self._visit(_symbol(op)), op.attributes["instanceName"].value
        port = port_names(op, results=True)[list(op.results).index(value)]
        given = dict(zip(port_names(op), op.operands, strict=True))
        found: list[Arrival] = []
        for source, path in made.outputs[port].items():
            found.append({None: path.inside(name)} if source is None else _later(self._of(given[source]), path.levels))
        return _latest(found)

    def _read(self, source: Any) -> Arrival:
        """Of a memory's word, which depends on the address, or of a register. Block RAM registers the address."""
        if source.name != "sv.array_index_inout":
            return {None: Path(READ, "memory")}
        memory, address = source.operands
        if "distributed" not in str(memory.owner.attributes["sv.attributes"]):
            return self._of(address)
        words = int(_DEPTH.search(str(memory.type))[1])  # type: ignore[index]
        delay = READ + max(0.0, log(words / 64, 2) * MUX)
        return _latest([_later(self._of(address), delay), {None: Path(delay, "memory")}])


def _levels(kind: str, op: Any) -> float:
    """Of an op whose every output bit depends on all of its operands."""
    varying = [effective(operand) for operand in op.operands if not is_constant(operand)]
    if not varying or kind in ("replicate", "seq.from_clock", "builtin.unrealized_conversion_cast"):
        return 0
    if kind in ("add", "sub"):
        return (1 + max(varying) * CARRY) * ceil(log(max(2, len(op.operands)), 2))
    if kind == "icmp":
        equal = op.attributes["predicate"].value < 2
        return log(max(2, sum(varying)), 6) if equal else 1 + max(varying) * CARRY
    if kind == "parity":
        return log(max(2, _ones(op.operands[0])), 6)
    if kind in ("shl", "shru", "shrs"):
        amount = op.operands[1]
        return 0 if is_constant(amount) else MUX * min(_varying(amount), op.operands[0].type.width.bit_length())
    if kind == "mul":
        return PRODUCT if len(varying) > 1 else 2.0
    raise NotImplementedError(kind)


def _varying(value: Any) -> int:
    """Bits of a value that are not constant."""
    made_by = maker(value)
    if made_by is None or made_by.name != "comb.concat":
        return int(value.type.width)
    return sum(0 if is_constant(part) else _varying(part) for part in made_by.operands)


def _ones(value: Any) -> int:
    """Bits of a value that may be 1: of one under a mask, its ones."""
    made_by = maker(value)
    if made_by is not None and made_by.name == "comb.and":
        for operand in made_by.operands:
            if is_constant(operand):
                mask = operand.owner.operation.attributes["value"].value
                return (mask & ((1 << value.type.width) - 1)).bit_count()
    return effective(value)


def _latest(arrivals: Iterable[Arrival]) -> Arrival:
    found: Arrival = {}
    for arrival in arrivals:
        for source, path in arrival.items():
            found[source] = max(found[source], path) if source in found else path
    return found


def _later(arrival: Arrival, levels: float) -> Arrival:
    return {source: path.plus(levels) for source, path in arrival.items()}


def _is_data(value: Any) -> bool:
    return isinstance(value.type, ir.IntegerType)


def _symbol(op: Any) -> str:
    return str(ir.FlatSymbolRefAttr(op.attributes["moduleName"]).value)
