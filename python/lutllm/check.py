"""`lutllm check`: a model goes in, a report of what becomes table lookups and of everything that does not comes out.

Nothing is quantized and nothing stops at the first problem: every op that stays in PyTorch is listed with its module
path, source line, reason and what to do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lutllm import models
from lutllm.bindings import ir, source_position
from lutllm.lowering.torch_to_lut import LINEAR, linear_name, linears_in, module_path, not_convertible
from lutllm.models.hf import require

NO_LUT_OP = "no lut op computes it yet: it stays in floating point in PyTorch"
LAYOUT = "moves data without computing: it stays in PyTorch"
UNKNOWN = "torch-mlir does not know this op: rewrite this part of the model with other ops"
_LAYOUT_OPS = {
    *("view", "reshape", "permute", "transpose.int", "t", "unsqueeze", "squeeze.dim", "slice.Tensor", "cat", "stack"),
    *(
        "expand",
        "broadcast_to",
        "clone",
        "contiguous",
        "select.int",
        "split.Tensor",
        "alias",
        "detach",
        "flatten.using_ints",
    ),
    *("to.dtype", "_to_copy", "embedding"),
}
_NO_COMPUTATION = (
    "torch.constant.",
    "torch.prim.",
    "torch.aten._assert",
    "torch_c.",
    "ml_program.",
    "func.",
    "builtin.",
)


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
class Place:
    """Where ops of one kind come from: PyTorch module path and source line, and how many there are."""

    module: str
    location: str | None
    count: int


@dataclass(frozen=True)
class Group:
    """Ops of one name that do not convert for one reason."""

    op: str
    reason: str
    places: list[Place] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(place.count for place in self.places)


@dataclass
class Report:
    """What `check` found; `to_dict` is plain JSON data, `text` is for people."""

    model: str
    fingerprint: str | None
    parameters: int
    linears: list[Convertible]
    not_converted: list[Group]

    @property
    def share(self) -> float:
        """The part of all parameters that lies in linears that convert."""
        return sum(linear.parameters for linear in self.linears) / self.parameters if self.parameters else 0.0

    @property
    def all_linears_convert(self) -> bool:
        return all(group.op != "aten.linear" for group in self.not_converted)

    def to_dict(self) -> dict[str, Any]:
        groups = [{**asdict(group), "count": group.count} for group in self.not_converted]
        return {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "parameters": self.parameters,
            "share_converted": round(self.share, 6),
            "all_linears_convert": self.all_linears_convert,
            "linears": [asdict(linear) for linear in self.linears],
            "not_converted": groups,
        }

    def text(self) -> str:
        lines = [f"{self.model}: {len(self.linears)} linears become table lookups ({self.share:.1%} of the parameters)"]
        shapes = Counter((_pattern(i.name), i.inputs, i.outputs, i.location) for i in self.linears)
        lines += [f"  {n:4} x {name}  {k} -> {o}  {where or ''}" for (name, k, o, where), n in shapes.items()]
        total = sum(group.count for group in self.not_converted)
        lines.append(f"{total} ops do not convert")
        for group in self.not_converted:
            lines.append(f"  {group.op} ({group.count}): {group.reason}")
            places: Counter[tuple[str, str | None]] = Counter()
            for place in group.places:
                places[_pattern(place.module), place.location] += place.count
            lines += [
                f"    {n:4} x {module or 'the model itself'}  {where or ''}" for (module, where), n in places.items()
            ]
        return "\n".join(lines)


def check(spec: str | Path, seed: int = 0, *, layers: int | None = None, tokens: int = 16) -> Report:
    """Load `spec` as `lutllm.models.load` does and report on the whole model, for `tokens` tokens."""
    loaded = models.load(spec, seed, layers=layers, fill=False)
    from lutllm.models.wrappers import whole_model

    module, args = whole_model(loaded.module, tokens)
    return check_module(module, args, name=loaded.name, fingerprint=loaded.fingerprint)


def check_module(
    module: Any, example_args: Sequence[Any], *, name: str = "module", fingerprint: str | None = None
) -> Report:
    """Report on any `nn.Module` with example inputs."""
    require("torch")
    from lutllm.importer.torch_export import export, import_program

    imported, _ = import_program(export(module, tuple(example_args)), module, "", "main")
    total = sum(parameter.numel() for parameter in module.parameters())
    with imported.context:
        linears, refused = _linears(imported)
        groups = [*_grouped(refused), *_grouped(_other_ops(imported))]
    return Report(name, fingerprint, total, linears, groups)


Found = tuple[str, str, str, str | None]  # op, reason, module path, source line


def _linears(module: ir.Module) -> tuple[list[Convertible], list[Found]]:
    """Linears that convert, each once however often it is used, and the others."""
    converts: dict[str, Convertible] = {}
    refused: list[Found] = []
    for op in linears_in(module.operation):
        name, where, reason = linear_name(op, {}), source_position(op.location), not_convertible(op)
        if reason:
            refused.append(("aten.linear", reason, name, where))
            continue
        uses = converts[name].uses + 1 if name in converts else 1
        outputs, inputs = _sizes(op.operands[1])
        bias = outputs if str(op.operands[2].type) != "!torch.none" else 0
        converts[name] = Convertible(name, inputs, outputs, inputs * outputs + bias, where, uses)
    return list(converts.values()), refused


def _sizes(value: ir.Value) -> list[int]:
    """The static sizes in a !torch.vtensor type."""
    return [int(size) for size in re.findall(r"\d+", str(value.type).split("]")[0])]


def _other_ops(module: ir.Module) -> list[Found]:
    """Everything that computes or moves data and is no linear."""
    found: list[Found] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if op.name != LINEAR and not op.name.startswith(_NO_COMPUTATION):
            name, reason = op.name.removeprefix("torch."), NO_LUT_OP
            if op.name == "torch.operator":
                name, reason = ir.StringAttr(op.attributes["name"]).value.removeprefix("torch."), UNKNOWN
            elif name.removeprefix("aten.") in _LAYOUT_OPS:
                reason = LAYOUT
            found.append((name, reason, module_path(op.location) or "", source_position(op.location)))
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit, ir.WalkOrder.PRE_ORDER)
    return found


def _grouped(found: list[Found]) -> list[Group]:
    """By op and reason, the reasons a user can act on first, then by how many there are."""
    groups: dict[tuple[str, str], Group] = {}
    for (op, reason, module, where), count in Counter(found).items():
        groups.setdefault((op, reason), Group(op, reason)).places.append(Place(module, where, count))
    order = {UNKNOWN: 1, NO_LUT_OP: 2, LAYOUT: 3}
    return sorted(groups.values(), key=lambda group: (order.get(group.reason, 0), -group.count, group.op))


def _pattern(path: str) -> str:
    """`model.layers.*.mlp` for `model.layers.12.mlp`: alike layers are one line."""
    return ".".join("*" if part.isdigit() else part for part in path.split("."))
