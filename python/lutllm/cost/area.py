"""What hardware would take of a device, from its structure: a design of the hw level in, resources by unit out.

Every op of a module costs LUTs in proportion to its bits; the factors are fitted to what Yosys makes of many modules
(`test/bench/area.py`, which keeps factors and error in `calibration.json`). Registers, multipliers and memories are
counted as they are. Wide multiplexers are made of LUTs, as on Versal, which has no MUXF7 and MUXF8.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from lutllm.cost.calibration import calibration
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.hardware.lib.circt import Design
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.machine.targets import Device

KINDS = ("LUT", "FF", "DSP", "BRAM", "URAM", "LUTRAM")
DSP_WIDTHS = (26, 17)  # of an unsigned product that one DSP48E2 makes; the DSP58 of Versal has 26 x 23
_URAM = (4096, 72)
_BRAM = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))  # of 18 Kbit
_ARRAY = re.compile(r"uarray<(\d+)xi(\d+)>")
_PIECE = 0.05  # of an SLR
_PREFIX = re.compile(r"lut_[0-9a-f]{8}_")
_LUTRAM = ((32, 14), (64, 7))  # that eight LUTs hold, one write port and one read port

Counts = dict[str, float]


@dataclass
class Structure:
    """Of a module: bits of its ops by kind, `instances` of other modules, and what is counted as it is."""

    bits: Counter[str] = field(default_factory=Counter)
    instances: Counter[str] = field(default_factory=Counter)
    fixed: Counter[str] = field(default_factory=Counter)

    def counts(self, factors: Mapping[str, float]) -> Counts:
        """What one takes, without what it instantiates."""
        found: Counts = dict.fromkeys(KINDS, 0.0) | self.fixed
        found["LUT"] += sum(factors.get(kind, 0.0) * bits for kind, bits in self.bits.items())
        found["FF"] += factors.get("FF", 1.0) * self.bits["register"]
        return found


def structures(design: Design) -> dict[str, Structure]:
    """Every module of a design for SystemVerilog, by its name in the text."""
    found = {}
    with design.context:
        for module in design.mlir.body.operations:
            own = Structure()
            for op in module.regions[0].blocks[0].operations:
                _count(op.operation, own)
            found[module.attributes["sym_name"].value] = own
    return found


class Area:
    """What an accelerator would take: `units`, the instances of the top module by module, with all below them, and
    `top`, what stands in it."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self._modules = structures(accelerator_to_hw(config, "sv"))
        factors = calibration()["factors"]
        self._own = {name: module.counts(factors) for name, module in self._modules.items()}
        self._below: dict[str, Counts] = {}
        top = self._modules[ACCELERATOR_TOP]
        self.units = {"top": self._own[ACCELERATOR_TOP]}
        for name, times in top.instances.items():
            counts = self._counts(name)
            self.units[_PREFIX.sub("", name)] = {kind: times * count for kind, count in counts.items()}

    def total(self, device: Device) -> dict[str, dict[str, float]]:
        """`used`, `available` and `share` of a device by kind of resource."""
        used = {kind: sum(unit[kind] for unit in self.units.values()) for kind in device.available}
        return {
            kind: {"used": round(used[kind]), "available": count, "share": round(used[kind] / count, 4)}
            for kind, count in device.available.items()
        }

    def units_by(self, kind: str) -> dict[str, Counts]:
        """Whole numbers by unit, those that take most of `kind` first."""
        found = sorted(self.units.items(), key=lambda item: -item[1][kind])
        return {name: {key: round(count) for key, count in counts.items()} for name, counts in found}

    def slrs(self, device: Device) -> list[dict[str, float]]:
        """Shares of each of a device's SLRs by kind, where units are spread over them one by one, the largest first,
        each to where it is least full. What is larger than a twentieth of an SLR is taken apart, if it can be."""
        room = {kind: count / device.slrs for kind, count in device.available.items()}

        def size(counts: Counts) -> float:
            return max(counts[kind] / count for kind, count in room.items())

        pieces, queue = [], [ACCELERATOR_TOP]
        while queue:
            name = queue.pop()
            if self._modules[name].instances and size(self._counts(name)) > _PIECE:
                pieces.append(self._own[name])
                queue += self._modules[name].instances.elements()
            else:
                pieces.append(self._counts(name))
        filled = [dict.fromkeys(KINDS, 0.0) for _ in range(device.slrs)]
        for piece in sorted(pieces, key=size, reverse=True):
            sums = [{kind: slr[kind] + piece[kind] for kind in KINDS} for slr in filled]
            best = min(range(device.slrs), key=lambda i: size(sums[i]))
            filled[best] = sums[best]
        return [{kind: round(slr[kind] / count, 4) for kind, count in room.items()} for slr in filled]

    def _counts(self, name: str) -> Counts:
        """A module with all that it instantiates."""
        if name not in self._below:
            sums = dict(self._own[name])
            for child, times in self._modules[name].instances.items():
                for kind, count in self._counts(child).items():
                    sums[kind] += times * count
            self._below[name] = sums
        return self._below[name]


def _count(op: Any, own: Structure) -> None:
    kind = op.name
    if kind == "hw.instance":
        own.instances[op.attributes["moduleName"].value] += 1
    elif kind == "seq.compreg.ce" or kind == "seq.compreg":
        own.bits["register"] += _width(op.results[0])
    elif kind == "sv.reg":
        _register(op, own)
    elif kind == "sv.always":
        for case in (inner for inner in _inside(op) if inner.name == "sv.case"):
            own.bits["rom"] += (len(case.regions) - 1) * _width(_first_constant(case))
    elif kind.startswith("comb."):
        _logic(op, own)


def _logic(op: Any, own: Structure) -> None:
    kind, width = op.name.removeprefix("comb."), _width(op.results[0])
    varying = [value for value in op.operands if not _constant(value)]
    if kind in ("add", "sub"):
        own.bits["add" if len(varying) == len(op.operands) else "count"] += width * max(1, len(varying) - 1)
    elif kind in ("and", "or", "xor"):
        own.bits["logic"] += width * max(0, len(varying) - 1)
    elif kind == "mux":
        both = sum(not _constant(value) for value in list(op.operands)[1:])
        own.bits["mux" if both == 2 else "gate" if both == 1 else "choice"] += width
    elif kind == "icmp":
        wide, equal = _width(op.operands[0]), int(op.attributes["predicate"].value) < 2
        own.bits[("equal" if equal else "less") + ("" if len(varying) == 2 else "_constant")] += wide
    elif kind in ("shl", "shru", "shrs") and not _constant(op.operands[1]):
        own.bits["shift"] += width * _effective(op.operands[1])
    elif kind == "mul":
        a, b = sorted((_effective(value) for value in op.operands), reverse=True)
        if len(varying) == 2 and a + b > 9:
            own.fixed["DSP"] += ceil(a / DSP_WIDTHS[0]) * ceil(b / DSP_WIDTHS[1])
        else:
            own.bits["product"] += a * b
    elif kind == "parity":
        own.bits["parity"] += _width(op.operands[0])


def _register(op: Any, own: Structure) -> None:
    """A register, or a memory by what it asks to be."""
    array = _ARRAY.search(str(op.results[0].type))
    if array is None:
        own.bits["rom_register"] += int(re.search(r"i(\d+)", str(op.results[0].type)).group(1))  # type: ignore[union-attr]
        return
    depth, width = int(array[1]), int(array[2])
    style = re.search(r'\\22(\w+)\\22|\\"(\w+)\\"', str(op.attributes["sv.attributes"]))
    name = next(filter(None, style.groups())) if style else "distributed"
    if name == "ultra":
        own.fixed["URAM"] += _blocks(depth, width, _URAM)
    elif name == "block":
        own.fixed["BRAM"] += min(_blocks(depth, width, shape) for shape in _BRAM) / 2
    else:
        luts = 8 * min(_blocks(depth, width, shape) for shape in _LUTRAM)
        own.bits["memory"] += luts
        own.fixed["LUTRAM"] += luts


def _blocks(depth: int, width: int, shape: tuple[int, int]) -> int:
    return ceil(depth / shape[0]) * ceil(width / shape[1])


def _inside(op: Any) -> Iterator[Any]:
    for region in op.regions:
        for block in region:
            for inner in block:
                yield inner.operation
                yield from _inside(inner.operation)


def _first_constant(case: Any) -> Any:
    return next(inner for inner in _inside(case) if inner.name == "sv.passign").operands[1]


def _width(value: Any) -> int:
    return int(value.type.width)


def _constant(value: Any) -> bool:
    return getattr(value.owner, "name", "") == "hw.constant"


def _effective(value: Any) -> int:
    """Bits of a value without what only extends it."""
    owner = value.owner
    if getattr(owner, "name", "") == "comb.concat":
        parts = list(owner.operands)
        if _constant(parts[0]) or getattr(parts[0].owner, "name", "") == "comb.replicate":
            return sum(_width(part) for part in parts[1:])
    return _width(value)
