"""What engines can do: for each chain of engines the sequences of steps ops that it computes as one cluster.

An op goes in; out comes the cluster that ends in it, or None. A new activation function is one more pattern.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lutllm.bindings import ir

ROWS = ("lut.stored_table", "lut.built_table", "lut.built_row", "lut.exact_row")


@dataclass(frozen=True)
class Match:
    """`ops`, in order, that the chain `engines` computes; the last one makes the result."""

    engines: tuple[str, ...]
    ops: tuple[ir.Operation, ...]

    @property
    def root(self) -> ir.Operation:
        return self.ops[-1]


def made_by(value: ir.Value, *names: str) -> ir.Operation | None:
    """The op that makes a value, if it has one of these names."""
    owner = value.owner
    if isinstance(owner, ir.Block) or owner.operation.name not in names:
        return None
    return owner.operation


def users(value: ir.Value) -> list[ir.Operation]:
    return [use.owner.operation for use in value.uses]


def linear_ops(end: ir.Operation) -> tuple[ir.Operation, ...] | None:
    """The steps of the linear that ends in a lut.requantize."""
    total = made_by(end.operands[0], "lut.prefix_sum")
    lookup = made_by(total.operands[0], "lut.table_lookup") if total and len(total.operands) == 1 else None
    rows = made_by(lookup.operands[0], *ROWS) if lookup else None
    if rows is None or lookup is None or total is None:
        return None
    search = made_by(rows.operands[0], "lut.centroid_search")
    return (*([search] if search else []), rows, lookup, total, end)


def _linear(value: ir.Value) -> tuple[ir.Operation, ...] | None:
    """The steps of a linear whose result only the op at hand takes, so that it need not be kept."""
    end = made_by(value, "lut.requantize")
    return linear_ops(end) if end is not None and len(users(value)) == 1 else None


def _residual(op: ir.Operation) -> Match | None:
    """A linear added to the residual stream, which is the other operand."""
    if op.name != "lut.add":
        return None
    found = _linear(op.operands[1]) or _linear(op.operands[0])
    return Match(("feed", "linear", "residual"), (*found, op)) if found else None


def _swiglu(op: ir.Operation) -> Match | None:
    found = _linear(op.operands[1]) if op.name == "lut.swiglu" else None
    return Match(("feed", "linear", "swiglu"), (*found, op)) if found else None


def _pick(op: ir.Operation) -> Match | None:
    found = _linear(op.operands[0]) if op.name == "lut.argmax" else None
    return Match(("feed", "linear", "pick"), (*found, op)) if found else None


def _embed(op: ir.Operation) -> Match | None:
    return Match(("embed", "residual"), (op,)) if op.name == "lut.embedding" else None


def _attention(op: ir.Operation) -> Match | None:
    return Match(("attention",), (op,)) if op.name == "lut.attention" else None


def _norm(op: ir.Operation) -> Match | None:
    """RMSNorm of all channels and the rescale after it, of the last token alone where that is taken before."""
    norm = made_by(op.operands[0], "lut.rms_norm") if op.name == "lut.rescale" else None
    if norm is None or _is_query(op) or _is_appended(op) or int(norm.attributes["groups"].value) != 1:
        return None
    last = made_by(norm.operands[0], "lut.last_token")
    return Match(("norm",), (*([last] if last else []), norm, op))


def _heads(op: ir.Operation) -> Match | None:
    """What stands between a linear and attention: norm of heads, RoPE, rescale; of keys and values also the cache."""
    if op.name == "lut.append":
        rescale, tail = made_by(op.operands[1], "lut.rescale"), [op]
    else:
        rescale, tail = (op if op.name == "lut.rescale" and _is_query(op) else None), []
    if rescale is None:
        return None
    ops = [rescale, *tail]
    for name in ("lut.rope", "lut.rms_norm"):
        before = made_by(ops[0].operands[0], name)
        ops = [before, *ops] if before else ops
    return Match(("heads",), tuple(ops))


def _is_query(op: ir.Operation) -> bool:
    return any(user.name == "lut.attention" and user.operands[0] == op.result for user in users(op.result))


def _is_appended(op: ir.Operation) -> bool:
    return any(user.name == "lut.append" for user in users(op.result))


Pattern = Callable[[ir.Operation], Match | None]
PATTERNS: tuple[Pattern, ...] = (_embed, _norm, _heads, _attention, _residual, _swiglu, _pick)


def matches(block: ir.Block) -> Iterator[Match]:
    """The clusters of a block in the order of their last ops; linears that no engine takes on end in a `store`, or
    where a norm reads them in the residual stream, or where the function returns them outside."""
    found: list[Match] = []
    for op in block.operations:
        found += [match for pattern in PATTERNS if (match := pattern(op.operation))][:1]
    covered = {op for match in found for op in match.ops}
    by_root = {match.root: match for match in found}
    for op in block.operations:
        if op.operation in by_root:
            yield by_root[op.operation]
        elif op.operation.name == "lut.requantize" and op.operation not in covered:
            ops = linear_ops(op.operation)
            if ops:
                yield Match(("feed", "linear", _sink(op.operation)), ops)


def _sink(end: ir.Operation) -> str:
    """What takes the result of a linear that stays what it is."""
    names = {user.name for user in users(end.result)}
    if "func.return" in names:
        return "save"
    return "residual" if names & {"lut.last_token", "lut.add"} or _normed(end) else "store"


def _normed(end: ir.Operation) -> bool:
    """Whether engine norm reads it: heads take their norm with them."""
    norms = [user for user in users(end.result) if user.name == "lut.rms_norm"]
    return any(_norm(user) for norm in norms for user in users(norm.result))
