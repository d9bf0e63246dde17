"""`lut.cluster` read: what stands in it and around it, as the passes below the placed level ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from lutllm import dialect
from lutllm.bindings import ir, module_path
from lutllm.errors import IRError
from lutllm.lowering.place.patterns import ARGUMENT, CACHE, NORM_ADD, OUTSIDE, ROWS
from lutllm.passes.lut_outline_head import HEAD
from lutllm.scheme import Scheme

T = TypeVar("T")
# Where the engine that ends a cluster leaves its result.
HOMES = {"norm": "x", "attention": "x", "swiglu": "x", "load": "x", "store": "y", "residual": "r", "heads": "q"}


@dataclass(frozen=True, eq=False)
class Linear:
    """The linear in a cluster: its parameters' name, scheme and shape, where rows come from, what it reads; and which
    `channels` it computes of `whole`, where it is a part of a larger one."""

    name: str
    scheme: Scheme
    row_source: str
    pairs: int
    outputs: int
    shift: int
    out_bits: int
    out_exponent: int
    exponents: str
    x: ir.Value
    codebook: str | None
    biased: bool
    whole: int
    channels: range | np.ndarray


@dataclass(frozen=True, eq=False)
class Cluster:
    """`op` and its place; a value from outside is an operand like any other."""

    op: dialect.ClusterOp

    @property
    def label(self) -> str:
        return self.op.label.value

    @cached_property
    def engines(self) -> tuple[str, ...]:
        return tuple(engine.value for engine in self.op.engines)

    @property
    def last(self) -> str:
        """The engine that ends it."""
        return self.engines[-1]

    @property
    def result(self) -> ir.Value:
        return self.op.operation.result

    @cached_property
    def ops(self) -> list[Any]:
        """What stands in it, without lut.yield."""
        return list(self.op.operation.regions[0].blocks[0].operations)[:-1]

    @property
    def yielded(self) -> ir.Value:
        return list(self.op.operation.regions[0].blocks[0].operations)[-1].operation.operands[0]

    def find(self, name: str) -> Any:
        """The op of that name in it, or None."""
        return next((op for op in self.ops if op.operation.name == name), None)

    @property
    def source(self) -> str:
        """The PyTorch module, for reports; of a norm not the linear whose exponents its result has."""
        norm = self.find("lut.rms_norm") if self.engines[0] == "norm" else None
        return module_path((norm or self.op).location) or ""

    def symbol(self, attribute: str) -> str | None:
        """The symbol an attribute of the cluster names."""
        found = self.op.optional(attribute)
        return None if found is None else found.value

    def named(self, attribute: str, table: Mapping[str, T]) -> T:
        """What stands in `table` under the symbol that an attribute names."""
        name = self.symbol(attribute)
        if name is None or name not in table:
            raise self.missing(attribute)
        return table[name]

    @property
    def fed(self) -> Cluster:
        """The one whose result its linear reads."""
        assert self.linear is not None
        return Cluster(self.linear.x.owner.opview)

    def missing(self, attribute: str) -> IRError:
        """The error of a cluster that does not have its place yet."""
        run = "lut-layout" if attribute == "layout" else "lut-allocate"
        return dialect.fault(self.op, f"expected a {attribute} of it in the module, got none; run {run}")

    @cached_property
    def rounds(self) -> tuple[str, ...]:
        found = self.op.optional("rounds")
        return () if found is None else tuple(name.value for name in found)

    @cached_property
    def linear(self) -> Linear | None:
        lookup, end = self.find("lut.table_lookup"), self.find("lut.requantize")
        rows = next((op for op in self.ops if op.operation.name in ROWS), None)
        if lookup is None or end is None or rows is None:
            return None
        search = self.find("lut.centroid_search")
        x = (search or rows).operation.operands[0]
        meaning, out = dialect.fixed_of(x.type), dialect.fixed_of(end.y.type)
        assert meaning is not None and out is not None
        part, whole = self.find("lut.slice"), end.y.type.shape[-1]
        channels: range | np.ndarray = range(whole)
        if part is not None:
            groups, start, count = int(part.groups.value), int(part.start.value), part.y.type.shape[-1]
            channels = np.arange(whole).reshape(groups, -1)[:, start : start + count // groups].reshape(-1)
        return Linear(
            name=lookup.weights.value,
            scheme=dialect.scheme_of(lookup),
            row_source=rows.operation.name.removeprefix("lut."),
            pairs=x.type.shape[-1] // 2,
            outputs=len(channels),
            shift=int(end.shift.value),
            out_bits=int(out[0]),
            out_exponent=int(out[1]),
            exponents=str(meaning[1]),
            x=x,
            codebook=None if search is None else search.codebook.value,
            biased="unbiased" not in end.attributes,
            whole=whole,
            channels=channels,
        )

    @property
    def cache(self) -> ir.Value | None:
        """The KV cache that it appends to, as it was before."""
        append = self.find("lut.append")
        return None if append is None else append.cache


def memory_of(cluster: Cluster) -> str | None:
    """The memory of a cluster's result; None for what leaves the chip."""
    if is_aside(cluster):
        return "y"
    return None if cluster.cache is not None else HOMES.get(cluster.last)


def is_aside(cluster: Cluster) -> bool:
    """Whether engine residual leaves its result beside the residual stream, to be normed before it is added."""
    if cluster.last != "residual" or cluster.linear is None or cluster.find("lut.add") is not None:
        return False
    return any(reader.engines == NORM_ADD for reader in consumers(cluster.result))


def home(value: ir.Value) -> str:
    """The on-chip memory where a value lies, or another place. The head finds the residual stream in memory r."""
    owner = value.owner
    if isinstance(owner, ir.Block):
        stream = owner.owner.opview.name.value == HEAD and str(value.type.element_type) == "i32" and is_fixed(value)
        return "r" if stream else ARGUMENT
    if not isinstance(owner.opview, dialect.ClusterOp):
        return OUTSIDE
    cluster = Cluster(owner.opview)
    return CACHE if cluster.cache is not None else memory_of(cluster) or OUTSIDE


def is_fixed(value: ir.Value) -> bool:
    """Whether it is a tensor of channels, not of token ids or positions."""
    return isinstance(value.type, ir.RankedTensorType) and dialect.fixed_of(value.type) is not None


def clusters_of(function: Any) -> list[Cluster]:
    return [Cluster(op) for op in function.entry_block.operations if isinstance(op, dialect.ClusterOp)]


def consumers(value: ir.Value) -> list[Cluster]:
    """The clusters with an op that takes `value`, each once."""
    found: dict[ir.Operation, Cluster] = {}
    for use in value.uses:
        around = use.owner.operation.parent
        if around is not None and isinstance(around.opview, dialect.ClusterOp):
            found.setdefault(around.operation, Cluster(around.opview))
    return list(found.values())


def head_count(cluster: Cluster) -> int:
    """Heads of what engine heads reads: RoPE says how many, or attention, which takes its result, or its norm."""
    rope, norm = cluster.find("lut.rope"), cluster.find("lut.rms_norm")
    if rope is not None:
        return int(rope.heads.value)
    for reader in consumers(cluster.result):
        attention = reader.find("lut.attention")
        if attention is not None:
            query = attention.query == cluster.result
            return int((attention.heads if query else attention.kv_heads).value)
    return 1 if norm is None else int(norm.groups.value)


def interleaved(cluster: Cluster, unit: int) -> int:
    """How many channels of a head of `unit` RoPE turns whose halves must lie side by side."""
    rope = cluster.find("lut.rope")
    return 0 if rope is None or "interleaved" in rope.attributes else int(rope.number("rotated", unit))


def heads_of(cluster: Cluster) -> tuple[int, int]:
    """(channels of a head, how many lie `interleaved`) of what engine heads reads; (1, 0) for anything else."""
    for reader in consumers(cluster.result):
        if reader.last == "heads":
            unit = cluster.result.type.shape[-1] // head_count(reader)
            return unit, interleaved(reader, unit)
    return 1, 0


def cache_kind(cluster: Cluster) -> str:
    """Whether attention reads the KV cache that a cluster appends to as keys or as values."""
    for use in cluster.result.uses:
        op = use.owner.operation
        if op.name == "lut.attention":
            return "k" if op.operands[1] == cluster.result else "v"
    return "k"
