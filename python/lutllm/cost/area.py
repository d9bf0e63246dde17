"""What hardware would take of a device, from its structure: a design of the hw level in, resources by unit out.

Every op of a module costs LUTs in proportion to its bits; the factors are fitted to what Yosys makes of many modules
(`test/bench/area.py`, which keeps factors and error in `calibration.json`). Registers, multipliers and memories are
counted as they are. Wide multiplexers are made of LUTs, as on Versal, which has no MUXF7 and MUXF8. Yosys makes each
product of a dot product a DSP; where a device's add several, a module of attention that does is one.
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
from lutllm.lowering.hardware.attention.dot import UNIT as DOT_UNIT
from lutllm.lowering.hardware.lib.circt import Design
from lutllm.lowering.hardware.lib.circt_bindings import ir
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.machine.targets import Device

KINDS = ("LUT", "FF", "DSP", "BRAM", "URAM", "LUTRAM")
DSP_WIDTHS = (26, 17)  # of an unsigned product that one DSP48E2 makes; the DSP58 of Versal has 26 x 23
LEAST_PRODUCT = 9  # bits of a product that Yosys takes a DSP for
SHIFTS = (3, 32)  # registers in a row that become a shift register of LUTs; how many one LUT holds
_ROM_BITS = 4096  # from here a table becomes block RAM
_URAM = ((4096, 72), (8192, 36))  # the second: two words in one
_BRAM_BITS = 36 * 1024
REGISTERS = ("seq.compreg", "seq.compreg.ce")
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
    fixed: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))

    def counts(self, factors: Mapping[str, float]) -> Counts:
        """What one takes, without what it instantiates."""
        found: Counts = dict.fromkeys(KINDS, 0.0) | self.fixed
        found["LUT"] += sum(factors.get(kind, 0.0) * bits for kind, bits in self.bits.items())
        found["FF"] += self.bits["register"]
        return found


def structures(design: Design) -> dict[str, Structure]:
    """Every module of a design for SystemVerilog, by its name in the text."""
    found = {}
    with design.context:
        for module in design.mlir.body.operations:
            own = Structure()
            for op in module.regions[0].blocks[0].operations:
                _count(op.operation, own)
            output = own.bits.pop("output", 0)  # of a memory, which block RAM has inside
            own.bits["register"] += 0 if own.fixed["BRAM"] or own.fixed["URAM"] else output
            found[module.attributes["sym_name"].value] = own
    return found


class Area:
    """What an accelerator would take: `units`, the instances of the top module by module, with all below them, and
    `top`, what stands in it."""

    def __init__(self, config: AcceleratorConfig, device: Device) -> None:
        self._modules = structures(accelerator_to_hw(config, "sv"))
        factors = calibration()["factors"]
        self._own = {name: module.counts(factors) for name, module in self._modules.items()}
        for name, counts in self._own.items():
            if _PREFIX.sub("", name).startswith(DOT_UNIT):
                counts["DSP"] = ceil(counts["DSP"] / device.dsp_products)
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
    elif kind in REGISTERS:
        _delay(op, own)
    elif kind == "sv.reg":
        _register(op, own)
    elif kind == "sv.always":
        for case in (inner for inner in inside(op) if inner.name == "sv.case"):
            bits = (len(case.regions) - 1) * _width(_first_constant(case))
            own.bits["rom"] += bits if bits < _ROM_BITS else 0
            own.fixed["BRAM"] += 0 if bits < _ROM_BITS else ceil(2 * bits / _BRAM_BITS) / 2
    elif kind.startswith("comb."):
        _logic(op, own)


def _logic(op: Any, own: Structure) -> None:
    kind, width = op.name.removeprefix("comb."), _width(op.results[0])
    varying = [value for value in op.operands if not is_constant(value)]
    if kind in ("add", "sub"):
        own.bits["add" if len(varying) == len(op.operands) else "count"] += width * max(1, len(varying) - 1)
    elif kind in ("and", "or", "xor"):
        own.bits["logic"] += width * max(0, len(varying) - 1)
    elif kind == "mux":
        both = sum(not is_constant(value) for value in list(op.operands)[1:])
        makers = [maker(value) for value in list(op.operands)[1:]]
        tree = both == 2 and all(one is not None and one.name == "comb.mux" for one in makers)
        own.bits["tree" if tree else "mux" if both == 2 else "gate" if both == 1 else "choice"] += width
    elif kind == "icmp":
        wide, equal = _width(op.operands[0]), int(op.attributes["predicate"].value) < 2
        own.bits[("equal" if equal else "less") + ("" if len(varying) == 2 else "_constant")] += wide
    elif kind in ("shl", "shru", "shrs") and not is_constant(op.operands[1]):
        own.bits["shift"] += width * effective(op.operands[1])
    elif kind == "mul":
        a, b = sorted((effective(value) for value in op.operands), reverse=True)
        if len(varying) < 2:
            constant = next(maker(value) for value in op.operands if is_constant(value))
            ones = constant.attributes["value"].value if constant is not None else 0
            own.bits["add"] += width * max(0, (ones & ((1 << width) - 1)).bit_count() - 1)
        elif width >= LEAST_PRODUCT:
            parts = _dsps(width, a, b)
            own.fixed["DSP"] += parts
            own.bits["partial"] += width * (parts - 1)  # whose sum LUTs make
        else:
            own.bits["product"] += min(a * b, width * width)
    elif kind == "parity":
        own.bits["parity"] += _width(op.operands[0])


def _register(op: Any, own: Structure) -> None:
    """A register, or a memory by what it asks to be."""
    array = _ARRAY.search(str(op.results[0].type))
    if array is None:
        own.bits["output"] += int(re.search(r"i(\d+)", str(op.results[0].type)).group(1))  # type: ignore[union-attr]
        return
    depth, width = int(array[1]), int(array[2])
    style = re.search(r'\\22(\w+)\\22|\\"(\w+)\\"', str(op.attributes["sv.attributes"]))
    name = next(filter(None, style.groups())) if style else "distributed"
    if name == "ultra":
        own.fixed["URAM"] += min(_blocks(depth, width, shape) for shape in _URAM)
    elif name == "block":
        own.fixed["BRAM"] += min(_blocks(depth, width, shape) for shape in _BRAM) / 2
    else:
        shape = next((shape for shape in _LUTRAM if depth <= shape[0]), _LUTRAM[-1])
        luts = 8 * _blocks(depth, width, shape)
        own.bits["memory"] += luts
        own.bits["mux"] += width * (ceil(depth / shape[0]) - 1)
        own.fixed["LUTRAM"] += luts


def _blocks(depth: int, width: int, shape: tuple[int, int]) -> int:
    return ceil(depth / shape[0]) * ceil(width / shape[1])


def inside(op: Any) -> Iterator[Any]:
    for region in op.regions:
        for block in region:
            for inner in block:
                yield inner.operation
                yield from inside(inner.operation)


def _first_constant(case: Any) -> Any:
    return next(inner for inner in inside(case) if inner.name == "sv.passign").operands[1]


def _width(value: Any) -> int:
    return int(value.type.width)


def is_constant(value: Any) -> bool:
    return (owner := maker(value)) is not None and owner.name == "hw.constant"


def maker(value: Any) -> Any | None:
    """The op that makes a value; None for a port."""
    return None if isinstance(value.owner, ir.Block) else value.owner.operation


def effective(value: Any) -> int:
    """Bits of a value without zeros in front. Yosys sees no more: a sign that is repeated counts."""
    owner = maker(value)
    if owner is not None and owner.name == "comb.concat":
        parts = list(owner.operands)
        if is_constant(parts[0]):
            return sum(_width(part) for part in parts[1:])
    return _width(value)


def _dsps(width: int, a: int, b: int) -> int:
    """Of the lowest `width` bits of a product of `a` and `b` bits, a >= b, cut as Yosys cuts it."""
    step, first = DSP_WIDTHS[1], [0]
    while a - first[-1] > DSP_WIDTHS[0]:
        first.append(first[-1] + step)
    return sum(i + j < width for i in first for j in range(0, b, step))


def _delay(op: Any, own: Structure) -> None:
    """A register; with those before it, where nothing else reads them, a shift register."""
    if _follower(op) is not None:
        return  # counted with the last of its row
    length, width = 1, _width(op.results[0])
    while (before := _before(op)) is not None:
        op, length = before, length + 1
    if length < SHIFTS[0]:
        own.bits["register"] += length * width
    else:
        own.bits["shift_register"] += width * ceil(length / SHIFTS[1])
        own.fixed["LUTRAM"] += width * ceil(length / SHIFTS[1])


def _before(op: Any) -> Any | None:
    """The register before one in a row: without reset, with the same enable, read by no other."""
    owner = maker(op.operands[0])
    after = _follower(owner) if owner is not None and owner.name in REGISTERS else None
    return owner if after is not None and after == op else None


def _follower(op: Any) -> Any | None:
    uses = list(op.results[0].uses)
    if len(uses) != 1 or _plain(op) is None:
        return None
    other = uses[0].owner.operation
    return other if other.name in REGISTERS and uses[0].operand_number == 0 and _plain(other) == _plain(op) else None


def _plain(op: Any) -> Any | None:
    """What enables a register that has no reset."""
    plain = 3 if op.name == "seq.compreg.ce" else 2
    if len(op.operands) != plain:
        return None
    return True if plain == 2 or is_constant(op.operands[2]) else op.operands[2]
