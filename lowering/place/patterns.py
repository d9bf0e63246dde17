"""What engines can do: for each chain of engines the sequences of steps ops that it computes as one cluster.

A block goes in; out come the clusters its ops make. A new activation function is one more line of `CHAINS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lutllm.bindings import ir

ENDS = ("lut.requantize", "lut.slice")  # of a linear: all that it computes, or some of it
KEPT = (*ENDS, "lut.embedding")  # whose result is what an engine gives another, or stays
ROWS = ("lut.stored_table", "lut.built_table", "lut.built_row", "lut.exact_row")
# Where a value from outside a cluster may lie, beside the memories on chip.
ARGUMENT, CACHE, OUTSIDE = "among the arguments", "in a KV cache", "outside the chip"


@dataclass(frozen=True)
class Part:
    """An op of a chain, one of `ops`. The op before it makes an operand, one of `flow`; the others come from outside
    the cluster: from the memory that `wants` says, by number."""

    ops: tuple[str, ...]
    flow: tuple[int, ...] = (0,)
    wants: dict[int, str] = field(default_factory=dict)
    optional: bool = False


def _part(name: str, *flow: int, optional: bool = False, **wants: str) -> Part:
    """`wants` as o0 = "r" for operand 0."""
    return Part((f"lut.{name}",), flow or (0,), {int(key[1:]): place for key, place in wants.items()}, optional)


LINEAR = (
    _part("centroid_search", o0="x", optional=True), Part(ROWS, (0,), {0: "x"}), _part("table_lookup"),
    _part("prefix_sum"), _part("requantize"), _part("slice", optional=True),
)  # fmt: skip
NORM_ADD = ("norm", "residual")  # of what a linear leaves in memory y
CHAINS: dict[tuple[str, ...], tuple[Part, ...]] = {
    ("norm",): (
        _part("last_token", o0="r", optional=True), _part("rms_norm", o0="r", optional=True), _part("rescale", o0="r"),
    ),
    ("heads",): (
        _part("rms_norm", o0="y", optional=True), _part("rope", o0="y", o1=ARGUMENT, optional=True),
        _part("rescale", o0="y"), _part("append", 1, o0=ARGUMENT, o2=ARGUMENT, optional=True),
    ),
    ("attention",): (_part("attention", o0="q", o1=CACHE, o2=CACHE, o3=ARGUMENT),),
    ("embed", "residual"): (
        _part("embedding", o0=ARGUMENT, o1=ARGUMENT), _part("add", 0, 1, o0="r", o1="r", optional=True),
    ),
    NORM_ADD: (_part("rms_norm", o0="y"), _part("add", 0, 1, o0="r", o1="r")),
    ("load",): (),
    ("feed", "linear", "residual"): (*LINEAR, _part("add", 0, 1, o0="r", o1="r", optional=True)),
    ("feed", "linear", "store"): LINEAR,
    ("feed", "linear", "swiglu"): (*LINEAR, _part("swiglu", 0, 1, o0="y")),
    ("feed", "linear", "pick"): (*LINEAR, _part("tanh", optional=True), _part("argmax")),
    ("feed", "linear", "save"): LINEAR,
}  # fmt: skip


@dataclass(frozen=True)
class Match:
    """`ops`, in order, that the chain `engines` computes; the last one makes the result."""

    engines: tuple[str, ...]
    ops: tuple[ir.Operation, ...]

    @property
    def root(self) -> ir.Operation:
        return self.ops[-1]


def users(value: ir.Value) -> list[ir.Operation]:
    return [use.owner.operation for use in value.uses]


def ops_of(op: ir.Operation, parts: Sequence[Part]) -> tuple[ir.Operation, ...] | None:
    """The ops of `parts` of which `op` is the last, or None. Neither a linear nor an embedding is computed twice: its
    result is kept, unless only the op after it takes it."""
    if not parts:
        return None
    *rest, part = parts
    if op.name not in part.ops:
        return ops_of(op, rest) if part.optional else None
    for i in (i for i in reversed(part.flow) if i < len(op.operands)):
        owner = op.operands[i].owner
        if set(range(len(op.operands))) - {i} <= part.wants.keys() and not isinstance(owner, ir.Block):
            found = ops_of(owner.operation, rest)
            if found and (owner.operation.name not in KEPT or len(users(op.operands[i])) == 1):
                return (*found, op)
    return (op,) if all(part.optional for part in rest) else None


def _match(op: ir.Operation) -> Match | None:
    """The cluster that ends in an op; linears alone left out."""
    for engines, parts in CHAINS.items():
        ops = None if op.name in ENDS else ops_of(op, parts)
        if ops and (op.name != "lut.rescale" or engines == _rescaled_by(ops)):
            return Match(engines, ops)
    return None


def _rescaled_by(ops: tuple[ir.Operation, ...]) -> tuple[str, ...]:
    """The engine of ops that end in a rescale: of queries heads, as of keys and values, which end in an append; of a
    norm of all channels norm."""
    result = ops[-1].result
    if any(user.name == "lut.attention" and user.operands[0] == result for user in users(result)):
        return ("heads",)
    whole = all(int(op.attributes["groups"].value) == 1 for op in ops if op.name == "lut.rms_norm")
    return ("norm",) if whole and all(user.name != "lut.append" for user in users(result)) else ()


def matches(block: ir.Block) -> Iterator[Match]:
    """The clusters of a block in the order of their last ops; linears that no engine takes on end in a `store`, or
    where a norm reads them in the residual stream, or where the function returns them outside."""
    found = [match for op in block.operations if (match := _match(op.operation))]
    inner = {op for match in found for op in match.ops[:-1]}
    by_root = {match.root: match for match in found if match.root not in inner}
    covered = {op for match in by_root.values() for op in match.ops}
    for op in block.operations:
        if op.operation in by_root:
            yield by_root[op.operation]
        elif op.operation.name in ENDS and op.operation not in covered and not sliced(op.operation):
            ops = ops_of(op.operation, LINEAR)
            if ops:
                yield Match(("feed", "linear", _sink(op.operation)), ops)


def sliced(end: ir.Operation) -> list[ir.Operation]:
    """The slices of what a linear computes."""
    return [user for user in users(end.result) if user.name == "lut.slice"]


def _sink(end: ir.Operation) -> str:
    """What takes the result of a linear that stays what it is."""
    names = {user.name for user in users(end.result)}
    if "func.return" in names:
        return "save"
    return "residual" if names & {"lut.last_token", "lut.add"} or _normed(end) else "store"


def _normed(end: ir.Operation) -> bool:
    """Whether engine norm reads it, whose sums of squares are residual's: heads take their norm with them."""
    norms = [user for user in users(end.result) if user.name == "lut.rms_norm"]
    found = [_match(user) for norm in norms for user in users(norm.result)]
    return any(match is not None and match.engines[0] == "norm" for match in found)
