"""`lutllm check`: a model goes in, a report of what it becomes, or of everything that keeps it from that, out.

Nothing is quantized and nothing stops at the first problem: every op that cannot be raised, or has no integer form, is
listed with its module path, source line, reason and what to do. What can be raised is compared with PyTorch.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lutllm import dialect, models
from lutllm.bindings import ir, source_position
from lutllm.lowering.quantize.forms import problems
from lutllm.lowering.quantize.graph import FloatGraph
from lutllm.lowering.raising.linears import LINEAR, linear_name, linears_in, not_convertible
from lutllm.lowering.raising.missing import NO_TORCH_OP
from lutllm.lowering.raising.reader import DOWNSTREAM, Unmatched
from lutllm.lowering.raising.torch_raise import read_model
from lutllm.models.hf import require
from lutllm.tabular import Tabular


@dataclass(frozen=True)
class Convertible:
    """A linear that becomes `lut.linear`. `parameters` counts weights and bias; `uses` how often the model calls it."""

    name: str
    inputs: int
    outputs: int
    parameters: int
    location: str | None
    uses: int = 1


@dataclass(frozen=True)
class Part:
    """Structural ops alike: `name` is the pattern of their names, `shape` what there is to say of each."""

    op: str
    name: str
    shape: str
    count: int


@dataclass(frozen=True)
class Place:
    """Where ops of one kind come from: PyTorch module path and source line, and how many there are."""

    module: str
    location: str | None
    count: int


@dataclass(frozen=True)
class Group:
    """Ops of one name that have no integer form, or cannot be raised, for one reason."""

    op: str
    reason: str
    places: list[Place] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(place.count for place in self.places)


@dataclass
class Conversion(Tabular):
    """What `check` found; `to_dict` is plain JSON data, its text is for people, its records are the linears.

    `structure` is what the whole model raises to and `float_error` how far its results are from PyTorch's; None where
    an op cannot be raised.
    """

    model: str
    fingerprint: str | None
    parameters: int
    linears: list[Convertible]
    all_linears_convert: bool
    structure: list[Part] | None
    float_error: float | None
    not_raised: list[Group]

    @property
    def convertible(self) -> bool:
        """Whether the whole model becomes integers."""
        return not self.not_raised

    @property
    def share(self) -> float:
        """The part of all parameters that lies in linears that convert."""
        return sum(linear.parameters for linear in self.linears) / self.parameters if self.parameters else 0.0

    def to_dict(self) -> dict[str, Any]:
        groups = [{**asdict(group), "count": group.count} for group in self.not_raised]
        return {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "parameters": self.parameters,
            "share_converted": round(self.share, 6),
            "all_linears_convert": self.all_linears_convert,
            "convertible": self.convertible,
            "float_error": self.float_error,
            "linears": [asdict(linear) for linear in self.linears],
            "structure": None if self.structure is None else [asdict(part) for part in self.structure],
            "not_raised": groups,
        }

    def records(self) -> list[dict[str, Any]]:
        return [asdict(linear) for linear in self.linears]

    def __str__(self) -> str:
        lines = [f"{self.model}: {len(self.linears)} linears become table lookups ({self.share:.1%} of the parameters)"]
        shapes = Counter((_pattern(i.name), i.inputs, i.outputs, i.location) for i in self.linears)
        lines += [f"  {n:4} x {name}  {k} -> {o}  {where or ''}" for (name, k, o, where), n in shapes.items()]
        if self.float_error is not None:
            lines.append(f"in floats, its results are within {self.float_error:.1e} of PyTorch's")
        if self.convertible:
            lines.append("the whole model becomes integer ops")
            parts = [part for part in self.structure or () if part.op != "linear"]
            return "\n".join([*lines, *(f"  {p.count:4} x {p.name}  {p.op}, {p.shape}" for p in parts)])
        total = sum(group.count for group in self.not_raised)
        lines.append(f"{total} ops keep the model from becoming integer ops")
        for group in self.not_raised:
            lines.append(f"  {group.op} ({group.count}): {group.reason}")
            places: Counter[tuple[str, str | None]] = Counter()
            for place in group.places:
                places[_pattern(place.module), place.location] += place.count
            lines += [
                f"    {n:4} x {module or 'the model itself'}  {where or ''}" for (module, where), n in places.items()
            ]
        return "\n".join(lines)


def check_spec(spec: str | Path, seed: int = 0, *, layers: int | None = None, tokens: int = 16) -> Conversion:
    """Load `spec` as `lutllm.models.load` does and report on the whole model, for `tokens` tokens."""
    loaded = models.load(spec, seed, layers=layers)
    from lutllm.importer.padding import pad_odd_linears
    from lutllm.models.wrappers import whole_model

    pad_odd_linears(loaded.module)
    module, args = whole_model(loaded.module, tokens)
    return check_module(module, args, name=loaded.name, fingerprint=loaded.fingerprint)


def check_module(
    module: Any, example_args: Sequence[Any], *, name: str = "module", fingerprint: str | None = None
) -> Conversion:
    """Report on any `nn.Module` with example inputs."""
    require("torch")
    from lutllm.importer.agreement import raise_to_float
    from lutllm.importer.torch_export import export, import_program

    imported, tensors = import_program(export(module, tuple(example_args)), module, "", "main")
    total = sum(parameter.numel() for parameter in module.parameters())
    with imported.context:
        # Linears are judged alone: between ops that cannot be raised they are lookups all the same.
        linears, refused = _linears(imported)
        converts = not refused
        _, reader = read_model(imported)
        lines = [r.location for r in refused]
        found = [u for u in reader.unmatched if u.op != LINEAR or u.location not in lines]
        structure, error = None, None
        if not reader.unmatched:
            raise_to_float(imported)
            structure = _structure(imported)
            found, error = _float_level(module, example_args, imported, tensors)
            refused = []  # now among what has no integer form
    return Conversion(name, fingerprint, total, linears, converts, structure, error, _grouped([*refused, *found]))


def _float_level(
    module: Any, example_args: Sequence[Any], imported: ir.Module, tensors: Any
) -> tuple[list[Unmatched], float]:
    """What keeps the float level from becoming integers, and how far its results are from PyTorch's."""
    from lutllm.importer import ImportedModule
    from lutllm.importer.agreement import Disagreement, float_error

    found = [Unmatched.at(p.op.operation, p.message) for p in problems(FloatGraph(imported))]
    try:
        return found, float_error(module, example_args, ImportedModule(imported, tensors))
    except Disagreement as wrong:
        return [*found, Unmatched(wrong.op, wrong.module, wrong.location, wrong.message)], wrong.error


def _linears(module: ir.Module) -> tuple[list[Convertible], list[Unmatched]]:
    """Linears that convert, each once however often it is used, and the others."""
    converts: dict[str, Convertible] = {}
    refused: list[Unmatched] = []
    for op in linears_in(module.operation):
        name, where, reason = linear_name(op, {}), source_position(op.location), not_convertible(op)
        if reason:
            refused.append(Unmatched(LINEAR, name, where, reason))
            continue
        uses = converts[name].uses + 1 if name in converts else 1
        outputs, inputs = _sizes(op.operands[1])
        bias = outputs if str(op.operands[2].type) != "!torch.none" else 0
        converts[name] = Convertible(name, inputs, outputs, inputs * outputs + bias, where, uses)
    return list(converts.values()), refused


def _sizes(value: ir.Value) -> list[int]:
    """The static sizes in a !torch.vtensor type."""
    return [int(size) for size in re.findall(r"\d+", str(value.type).split("]")[0])]


def _grouped(found: Sequence[Unmatched]) -> list[Group]:
    """By op and reason: what a user can act on first, what follows from it last, then by how many there are."""
    groups: dict[tuple[str, str], Group] = {}
    for u, count in Counter(found).items():
        op = u.op.removeprefix("torch.")
        groups.setdefault((op, u.expected), Group(op, u.expected)).places.append(Place(u.module, u.location, count))
    order = {NO_TORCH_OP: 1, DOWNSTREAM: 2}
    return sorted(groups.values(), key=lambda group: (order.get(group.reason, 0), -group.count, group.op))


def _structure(module: ir.Module) -> list[Part]:
    """The structural ops of a module, those alike as one."""
    parts: Counter[tuple[str, str, str]] = Counter()
    for op in dialect.lut_ops(module):
        kind = op._op_name.removeprefix("float_")
        parts[kind, _pattern(op.attributes["name"].value), _shape(op)] += 1
    return [Part(*key, count) for key, count in parts.items()]


def _shape(op: Any) -> str:
    """The size of a structural op in a few words."""
    channels = op.operation.results[0].type.shape[1]
    if isinstance(op, dialect.FloatAttentionOp):
        heads = op.heads.value
        return f"{heads} heads of {channels // heads} on {op.kv_heads.value} of keys and values"
    groups = next((op.attributes[name].value for name in ("groups", "heads") if name in op.attributes), 1)
    return f"{groups} heads of {channels // groups}" if groups > 1 else f"{channels} channels"


def _pattern(path: str) -> str:
    """`model.layers.*.mlp` for `model.layers.12.mlp`: layers alike are one line."""
    return ".".join("*" if part.isdigit() else part for part in path.split("."))
