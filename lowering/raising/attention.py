"""Attention, eager and SDPA: rules for scores, masks and softmax, and what they are to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lutllm.bindings import ir
from lutllm.lowering.raising.axes import Axis, Dimension, axis, fits_in, flat, size_of
from lutllm.lowering.raising.conditions import is_last, require
from lutllm.lowering.raising.missing import NO_LINEAR
from lutllm.lowering.raising.reader import Mismatch, Reader, Rule, Term, Value, readable

HIDDEN = -30000.0  # a mask's value that leaves nothing of a score, in float16 too


@dataclass(frozen=True)
class Heads:
    """What an attention knows of its heads; with a `window` a token sees that many, itself the last. Scores approach
    `softcap` at most."""

    heads: int
    kv_heads: int
    head_dim: int
    scale: float
    window: int | None = None
    softcap: float | None = None


def _heads(query: Value, key: Value, grouped: bool = False) -> Heads:
    """Heads of consecutive channels, the kv heads repeated for their groups, one by broadcast; `key` is
    [..., tokens, channels]."""
    (_, q), (_, k) = query, key
    wanted = "queries and keys of heads of consecutive channels, kv heads repeated for consecutive query heads"
    require(len(q) == len(k) >= 3 and q[-1] == k[-1] and q[-2] == k[-2], wanted)
    require(flat(q[-2:-1])[:1] == q[-2] and len(q[-2]) == 1 and q[-2][0].label == "tokens", wanted)
    size = size_of(q[-1:], "channel")
    heads, kv = size_of(q[:-2], "channel"), size_of(k[:-2], "channel")
    grouped = grouped or not flat(k[:-2])
    times = size_of(k[:-2], "repeat")
    require(q[-1] == axis("channel", size) and heads % kv == 0 and times == (1 if grouped else heads // kv), wanted)
    groups = (*_steps(kv, size), *axis("repeat", times))
    require(flat(q[:-2]) == _steps(heads, size) and flat(k[:-2]) == groups, wanted)
    return Heads(heads, kv, size, 1.0)


def _steps(heads: int, head_dim: int) -> Dimension:
    return (Axis("channel", heads, head_dim),) if heads > 1 else ()


def _matmul(reader: Reader, op: ir.Operation) -> Value:
    """Query times key, or probabilities times value."""
    (a, a_axes), (b, b_axes) = reader.value(op, 0), reader.value(op, 1)
    if a.kind == "probabilities":
        query, key = a.inputs
        heads, scale = a.data
        wanted = "probabilities times values of the same heads as the keys"
        require(
            len(b_axes) >= 3 and flat(b_axes[:-2]) == heads[1] and b_axes[-1] == axis("channel", heads[0].head_dim),
            wanted,
        )
        require(b_axes[-2] == a_axes[-2], wanted)
        require(b.structural, f"probabilities times values, got {readable(b)}")
        return _attention(op, query, key, b, replace(heads[0], scale=scale)), (*a_axes[:-1], b_axes[-1])
    if "parameter" in (a.kind, b.kind):
        raise Mismatch(NO_LINEAR)
    turned = (*b_axes[:-2], *b_axes[:-3:-1])
    require(a.structural and b.structural, f"queries times keys, got {readable(a)} times {readable(b)}")
    found = _heads((a, a_axes), (b, turned))
    keys = axis("keys", size_of(turned[-2:-1], "tokens"))
    return Term("scores", (a, b), op, ((found, flat(turned[:-2])), 1.0)), (*a_axes[:-1], keys)


def _softmax(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    good = term.kind == "masked" and is_last(reader, op, 1, axes)
    require(good, "softmax over the keys of scores plus the causal mask")
    return Term("probabilities", term.inputs, op, term.data), axes


def _sdpa(reader: Reader, op: ir.Operation) -> Value:
    query, key, value = (reader.value(op, i) for i in range(3))
    mask = reader.values.get(op.operands[3])
    dropout, causal, scale, grouped = (reader.number(op, i) for i in range(4, 8))
    seen = _is_mask(mask[0]) if mask else causal is True
    require(seen and not (mask and causal), "attention with the model's causal mask, got another mask")
    require(dropout == 0, f"attention without dropout, got {dropout}")
    terms = (query[0], key[0], value[0])
    require(all(t.structural for t in terms), f"queries, keys and values, got {', '.join(map(readable, terms))}")
    found = _heads(query, key, bool(grouped))
    require(key[1] == value[1], "keys and values of the same heads")
    window = mask[0].data if mask else None
    found = replace(found, scale=found.head_dim**-0.5 if scale is None else float(scale), window=window)
    return _attention(op, *terms, found), query[1]


def _attention(op: ir.Operation, query: Term, key: Term, value: Term, heads: Heads) -> Term:
    return Term("attention", (query, key, value), op, heads, heads.heads * heads.head_dim)


def masked(op: ir.Operation, left: Value, right: Value) -> Value | None:
    """Scores plus a mask."""
    (a, axes), (b, b_axes) = left, right
    if a.kind != "scores" or not _is_mask(b) or len(b_axes) < 2 or not fits_in(b_axes, axes):
        return None
    (heads, groups), scale = a.data
    return Term("masked", a.inputs, op, ((replace(heads, window=b.data), groups), scale)), axes


def _is_mask(term: Term) -> bool:
    return term.kind == "mask"


# --- windows: how far a query lies behind a key, from the positions of both


def difference(reader: Reader, op: ir.Operation) -> Value:
    """Positions of queries, along the last dimension but one, minus those of keys, along the last."""
    (a, a_axes), (b, b_axes) = reader.value(op, 0), reader.value(op, 1)
    whole = len(a_axes) == len(b_axes) >= 2 and not any((*a_axes[:-2], *b_axes[:-2], a_axes[-1], b_axes[-2]))
    tokens = a_axes[-2] if whole else ()
    good = a is b and a.kind == "integers" and whole and tokens == b_axes[-1] and reader.number(op, 2) == 1
    require(good, "positions of queries minus positions of keys, for a window")
    reader.use(a, "positions")
    keys = axis("keys", size_of((tokens,), "tokens"))
    return Term("distance", (a,), op), (*a_axes[:-1], keys)


def _at_least(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    least = reader.number(op, 1)
    require(term.kind == "distance" and isinstance(least, int) and least > 0, "a distance of at least a window")
    return Term("beyond", term.inputs, op, least), axes


def _number(reader: Reader, op: ir.Operation) -> Value:
    return Term("number", op=op, data=float(reader.number(op, 0))), ()


def _where(reader: Reader, op: ir.Operation) -> Value:
    """The causal mask with what lies beyond a window hidden too."""
    (beyond, b_axes), (hidden, _), (mask, axes) = (reader.value(op, i) for i in range(3))
    good = _is_mask(mask) and beyond.kind == "beyond" and fits_in(b_axes, axes)
    good = good and hidden.kind == "number" and hidden.data < HIDDEN
    require(good, "the causal mask, filled where a key lies beyond a window")
    window = beyond.data if mask.data is None else min(mask.data, beyond.data)
    return Term("mask", (mask, *beyond.inputs), op, window), axes


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("bmm", "matmul"), _matmul),
    **dict.fromkeys(("_softmax", "softmax.int"), _softmax),
    "scaled_dot_product_attention": _sdpa,
    "ge.Scalar": _at_least,
    "scalar_tensor": _number,
    "where.self": _where,
}
