"""`lutllm check`: a model goes in, a report of the decoder it raises to, or of everything that keeps it from that, out.

Nothing is quantized and nothing stops at the first problem: every op that cannot be raised is listed with its module
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
from lutllm.decoder import Decoder
from lutllm.lowering.torch_ir.decoder import read_decoder
from lutllm.lowering.torch_ir.linears import LINEAR, linear_name, linears_in, not_convertible
from lutllm.lowering.torch_ir.reader import DOWNSTREAM, NO_TORCH_OP, Unmatched
from lutllm.models.hf import require


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
    """Ops of one name that cannot be raised for one reason."""

    op: str
    reason: str
    places: list[Place] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(place.count for place in self.places)


@dataclass
class Report:
    """What `check` found; `to_dict` is plain JSON data, `text` is for people.

    `decoder` is what the whole model raises to, None where `not_raised` has something.
    """

    model: str
    fingerprint: str | None
    parameters: int
    linears: list[Convertible]
    decoder: Decoder | None
    not_raised: list[Group]

    @property
    def share(self) -> float:
        """The part of all parameters that lies in linears that convert."""
        return sum(linear.parameters for linear in self.linears) / self.parameters if self.parameters else 0.0

    @property
    def all_linears_convert(self) -> bool:
        return all(group.op != "aten.linear" for group in self.not_raised)

    def to_dict(self) -> dict[str, Any]:
        groups = [{**asdict(group), "count": group.count} for group in self.not_raised]
        return {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "parameters": self.parameters,
            "share_converted": round(self.share, 6),
            "all_linears_convert": self.all_linears_convert,
            "linears": [asdict(linear) for linear in self.linears],
            "decoder": None if self.decoder is None else self.decoder.to_dict(),
            "not_raised": groups,
        }

    def text(self) -> str:
        lines = [f"{self.model}: {len(self.linears)} linears become table lookups ({self.share:.1%} of the parameters)"]
        shapes = Counter((_pattern(i.name), i.inputs, i.outputs, i.location) for i in self.linears)
        lines += [f"  {n:4} x {name}  {k} -> {o}  {where or ''}" for (name, k, o, where), n in shapes.items()]
        if self.decoder is not None:
            return "\n".join([*lines, "the whole model becomes integer ops", *_summary(self.decoder)])
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

    imported, tensors = import_program(export(module, tuple(example_args)), module, "", "main")
    total = sum(parameter.numel() for parameter in module.parameters())
    with imported.context:
        linears, refused = _linears(imported)
        raised = read_decoder(imported, tensors)
        # Linears are judged alone: between ops that cannot be raised they are lookups all the same.
        others = [u for u in raised.unmatched if u.op != LINEAR] or ([] if refused else raised.unmatched)
    return Report(name, fingerprint, total, linears, raised.decoder, _grouped([*refused, *others]))


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


def _summary(decoder: Decoder) -> list[str]:
    """The structure in a few lines, layers alike in one."""
    shapes = Counter(
        (layer.attention.heads, layer.attention.kv_heads, layer.attention.head_dim, layer.intermediate, bool(norm))
        for layer in decoder.layers
        for norm in (layer.attention.query_norm,)
    )
    lines = [
        f"  {n:4} x layer: {h} heads of {c} on {kv} of keys and values{', normed' if norm else ''}; MLP of {inner}"
        for (h, kv, c, inner, norm), n in shapes.items()
    ]
    return [*lines, f"  {decoder.hidden} channels, {decoder.vocabulary} tokens"]


def _pattern(path: str) -> str:
    """`model.layers.*.mlp` for `model.layers.12.mlp`: alike layers are one line."""
    return ".".join("*" if part.isdigit() else part for part in path.split("."))
