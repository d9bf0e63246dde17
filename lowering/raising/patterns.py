"""What torch ops compute, a rule for each: a function goes in, what each of its values is comes out.

Rules know embedding, RMSNorm, linear, RoPE, attention (eager and SDPA), gated SiLU and sums, wherever they stand and
whatever they read. Casts between float types and changes of layout are no terms; `Axes` follow the layout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from lutllm.bindings import ir
from lutllm.lowering.raising.axes import (
    Axes,
    Axis,
    Dimension,
    are_rows,
    axis,
    broadcast,
    fits_in,
    flat,
    reshaped,
    size_of,
)
from lutllm.lowering.raising.linears import linear_name, not_linear, parameter_symbol
from lutllm.lowering.raising.reader import (
    FLOATS,
    UNKNOWN,
    Mismatch,
    Reader,
    Rule,
    Term,
    Value,
    readable,
    static_sizes,
)

FoundT = TypeVar("FoundT")


@dataclass(frozen=True)
class Norm:
    """The symbol of the gain, and how many equal groups of channels are normed by themselves."""

    gain: str
    epsilon: float
    groups: int


@dataclass(frozen=True)
class Linear:
    """A linear by its module path, and the symbols of its parameters."""

    name: str
    weight: str
    bias: str | None


@dataclass(frozen=True)
class Rope:
    """The symbol of the frequencies, what cosines and sines are multiplied by, and the heads that are rotated."""

    frequencies: str
    scale: float
    heads: int


@dataclass(frozen=True)
class Heads:
    """What an attention knows of its heads."""

    heads: int
    kv_heads: int
    head_dim: int
    scale: float


def read_function(function: Any) -> Reader:
    """What every value of a model's function is."""
    return Reader(function, RULES)


def _require(good: bool, expected: str) -> None:
    if not good:
        raise Mismatch(f"expected {expected}")


def _required(found: FoundT | None, expected: str) -> FoundT:
    if found is None:
        raise Mismatch(f"expected {expected}")
    return found


def _last(reader: Reader, op: ir.Operation, i: int, axes: Axes) -> bool:
    """Whether operand `i` names the last dimension."""
    found = reader.number(op, i)
    found = found[0] if isinstance(found, list) and len(found) == 1 else found
    return found in (-1, len(axes) - 1)


# --- layout --------------------------------------------------------------------------------------------------------


def _same(reader: Reader, op: ir.Operation) -> Value:
    return reader.value(op, 0)


def _cast(reader: Reader, op: ir.Operation) -> Value:
    """To a float type: norms and RoPE are computed in float32 whatever the model's type."""
    _require(str(op.result.type).endswith(FLOATS), "a cast to a float type")
    return reader.value(op, 0)


def _relaid(change: Callable[[Axes, Sequence[int]], Axes | None], expected: str) -> Rule:
    """The same term with its axes changed to the sizes of the result."""

    def rule(reader: Reader, op: ir.Operation) -> Value:
        term, axes = reader.value(op, 0)
        return term, _required(change(axes, static_sizes(op.result) or ()), expected)

    return rule


_view = _relaid(reshaped, "a reshape that keeps tokens and heads whole")
_broadcast = _relaid(broadcast, "a broadcast of dimensions of size 1")


def _permute(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    return term, tuple(axes[i] for i in reader.number(op, 1))


def _transpose(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    order = list(range(len(axes)))
    i, j = (reader.number(op, 1), reader.number(op, 2)) if len(op.operands) == 3 else (0, len(axes) - 1)
    order[i], order[j] = order[j], order[i]
    return term, tuple(axes[k] for k in order)


def _slice(reader: Reader, op: ir.Operation) -> Value:
    """All of a dimension, or one half of the channels of a head."""
    term, axes = reader.value(op, 0)
    before, after = static_sizes(op.operands[0]), static_sizes(op.result)
    start, step = reader.number(op, 2), reader.number(op, 4)
    if before == after and start == 0 and step == 1:
        return term, axes
    half = flat((axes[-1],))
    _require(
        _last(reader, op, 1, axes) and step == 1 and len(half) == 1 and half[0].label == "channel",
        "a slice of the channels of a head",
    )
    size = half[0].size
    assert after is not None
    _require(
        after[-1] * 2 == size and start in (0, size // 2),
        f"RoPE that rotates the halves of all {size} channels of a head, got channels {start}..{start + after[-1] - 1}",
    )
    return Term("half", (term,), op, start > 0), (*axes[:-1], axis("half", size // 2))


def _cat(reader: Reader, op: ir.Operation) -> Value:
    """rotate_half: (-second, first); or the angles twice."""
    found = [reader.values.get(v) for v in reader.number(op, 0)]
    wanted = "two halves: angles twice, or the negated second half of a head before the first"
    _require(len(found) == 2 and None not in found, wanted)
    (a, a_axes), (b, b_axes) = found[0] or reader.value(op, 0), found[1] or reader.value(op, 0)
    _require(_last(reader, op, 1, a_axes), wanted)
    size = (static_sizes(op.result) or [0])[-1]
    axes = (*a_axes[:-1], axis("channel", size))
    if a is b and a.kind == "angles":
        return Term("angle_pairs", a.inputs, op, a.data), axes
    whole = a.kind == "negated" and b.kind == "half" and not b.data and a.inputs[0].data
    _require(whole and a.inputs[0].inputs[0] is b.inputs[0] and a_axes == b_axes, wanted)
    return Term("rotated", b.inputs, op), axes


# --- norms, RoPE, activations --------------------------------------------------------------------------------------


def _square(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    _require(reader.number(op, 1) == 2, f"a square, got a power of {reader.number(op, 1)}")
    return Term("square", (term,), op), axes


def _mean(reader: Reader, op: ir.Operation) -> Value:
    """`sum.dim_IntList` or `mean.dim` of squares along the last dimension, which stays as size 1."""
    term, axes = reader.value(op, 0)
    kept = _last(reader, op, 1, axes) and reader.number(op, 2) is True
    _require(term.kind == "square" and kept, "the mean of squares of the last dimension, as an RMSNorm takes it")
    kind = "mean_square" if "mean" in op.name else "sum_square"
    return Term(kind, term.inputs, op, flat((axes[-1],))), (*axes[:-1], ())


def _divide(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    by = reader.number(op, 1)
    if term.kind == "scores":
        return _scaled(term, op, 1 / by), axes
    good = term.kind == "sum_square" and len(term.data) == 1 and by == term.data[0].size
    _require(good, "a sum of squares divided by their number, or scores divided by their scale")
    return Term("mean_square", term.inputs, op), axes


def _add_number(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    _require(term.kind == "mean_square" and reader.number(op, 2) == 1, "epsilon added to a mean of squares")
    return Term("variance", term.inputs, op, float(reader.number(op, 1))), axes


def _rsqrt(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    _require(term.kind == "variance", "the inverse square root of a mean of squares plus epsilon")
    return Term("inverse_rms", term.inputs, op, term.data), axes


def _times_number(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    _require(term.kind in ("cosine", "sine", "scores"), "scores, cosines or sines times a number")
    return _scaled(term, op, float(reader.number(op, 1))), axes


def _scaled(term: Term, op: ir.Operation, by: float) -> Term:
    return Term(term.kind, term.inputs, op, (term.data[0], term.data[1] * by))


def _times(reader: Reader, op: ir.Operation) -> Value:
    a, b = reader.value(op, 0), reader.value(op, 1)
    return _required(
        _product(op, a, b) or _product(op, b, a),
        "a product of a norm, of RoPE or of SiLU and up, "
        f"got {readable(a[0])} times {readable(b[0])} of shapes {static_sizes(op.operands[0])} and "
        f"{static_sizes(op.operands[1])}",
    )


def _product(op: ir.Operation, left: Value, right: Value) -> Value | None:
    (a, axes), (b, b_axes) = left, right
    if a is b and axes == b_axes:
        return Term("square", (a,), op), axes
    plain = axes[-1:] == b_axes[-1:] and len(axes[-1:]) == 1 and len(flat(axes[-1:])) <= 1
    if b.kind == "inverse_rms" and b.inputs[0] is a and a.structural and fits_in(b_axes, axes):
        return Term("normalised", (a,), op, b.data), axes
    if a.kind == "normalised" and b.kind == "parameter" and len(b_axes) == 1 and plain:
        x = a.inputs[0]
        data = Norm(b.data, a.data, x.channels // size_of(b_axes, "channel"))
        return Term("norm", (x,), op, data, x.channels), axes
    if a.kind == "integers" and b.kind == "parameter" and len(b_axes) == 1 and axes[-1:] == ((),):
        return Term("angles", (a,), op, b.data), (*axes[:-1], b_axes[0])
    if b.kind == "cosine" and fits_in(b_axes, axes):
        return Term("times_cosine", (a, b), op), axes
    if a.kind == "rotated" and b.kind == "sine" and fits_in(b_axes, axes):
        return Term("times_sine", (*a.inputs, b), op), axes
    if a.kind == "silu" and b.structural and axes == b_axes:
        return Term("gated", (*a.inputs, b), op, "silu", b.channels), axes
    return None


def _cosine(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    _require(term.kind == "angle_pairs", "angles of RoPE: positions times inverse frequencies, twice")
    reader.use(term.inputs[0], "positions")
    return Term("cosine" if op.name.endswith("cos") else "sine", term.inputs, op, (term.data, 1.0)), axes


def _negated(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    _require(term.kind == "half", "the second half of a head's channels, as RoPE negates it")
    return Term("negated", (term,), op), axes


def _silu(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    _require(term.structural, f"SiLU of a value that lut ops compute, got {readable(term)}")
    return Term("silu", (term,), op), axes


def _embedding(reader: Reader, op: ir.Operation) -> Value:
    (table, axes), (ids, tokens) = reader.value(op, 0), reader.value(op, 1)
    symbol = parameter_symbol(op.operands[0])
    good = symbol is not None and len(axes) == 2 and ids.kind == "integers"
    _require(good, "a table of embeddings, a parameter, read at an input of token ids")
    reader.use(ids, "ids")
    return Term("embedding", (table, ids), op, symbol, size_of(axes[1:], "channel")), (*tokens, axes[-1])


def _linear(reader: Reader, op: ir.Operation) -> Value:
    reason = not_linear(op)
    if reason:
        raise Mismatch(reason)
    term, axes = reader.value(op, 0)
    sizes = static_sizes(op.operands[1])
    bias = parameter_symbol(op.operands[2])
    none = str(op.operands[2].type) == "!torch.none"
    _require(sizes is not None and len(sizes) == 2, "a weight [outputs, inputs]")
    _require(none or bias is not None, "a bias that is a parameter, got a computed one")
    outputs, inputs = sizes or (0, 0)
    if not _is_read(reader, term, axes, inputs):
        term, axes = Term(UNKNOWN, op=op), (*axes[:-2], axis("tokens", (static_sizes(op.result) or [0, 0])[-2]), ())
    data, tokens = Linear(linear_name(op, {}), parameter_symbol(op.operands[1]) or "", bias), axes[-2]
    leading: Axes = ((),) * (len(axes) - 2)
    return Term("linear", (term,), op, data, outputs), (*leading, tokens, axis("channel", outputs))


def _is_read(reader: Reader, term: Term, axes: Axes, inputs: int) -> bool:
    """Whether a linear reads rows of a structural value; where not, the op that made it is noted, for the linear is
    none the worse."""
    if term.kind == UNKNOWN or (term.structural and are_rows(axes, inputs)):
        return term.kind != UNKNOWN
    expected = f"rows of all channels of one token each, as the input of a linear, got {readable(term)}"
    if term.op is None:
        raise Mismatch(f"expected {expected}")
    reader.note(term.op, f"expected {expected}")
    return False


def _plus(reader: Reader, op: ir.Operation) -> Value:
    a, b = reader.value(op, 0), reader.value(op, 1)
    _require(reader.number(op, 2) == 1, "a sum without a factor")
    return _required(
        _sum(op, a, b) or _sum(op, b, a),
        "a sum of two values of one shape, of the two products of RoPE, or of scores and the causal mask, "
        f"got {readable(a[0])} plus {readable(b[0])}",
    )


def _sum(op: ir.Operation, left: Value, right: Value) -> Value | None:
    (a, axes), (b, b_axes) = left, right
    if a.kind == "times_cosine" and b.kind == "times_sine" and axes == b_axes:
        return _rope(op, a, b, axes)
    if a.kind == "scores" and b.kind == "mask" and fits_in(b_axes, axes) and len(b_axes) >= 2:
        return Term("masked", a.inputs, op, a.data), axes
    if a.structural and b.structural and axes == b_axes:
        return Term("add", (a, b), op, None, a.channels), axes
    return None


def _rope(op: ir.Operation, a: Term, b: Term, axes: Axes) -> Value | None:
    """The products of one value, and of its rotated halves, with cosine and sine of the same angles."""
    (x, cosine), (y, sine) = a.inputs, b.inputs
    same = x is y and x.structural and cosine.data == sine.data and cosine.inputs == sine.inputs
    if not same or len(axes[-1]) != 1:
        return None
    symbol, scale = cosine.data
    data = Rope(symbol, scale, x.channels // axes[-1][0].size)
    return Term("rope", (x, *cosine.inputs), op, data, x.channels), axes


# --- attention -----------------------------------------------------------------------------------------------------


def _heads(query: Value, key: Value, grouped: bool = False) -> Heads:
    """Heads of consecutive channels, the kv heads repeated for their groups; `key` is [..., tokens, channels]."""
    (_, q), (_, k) = query, key
    wanted = "queries and keys of heads of consecutive channels, kv heads repeated for consecutive query heads"
    _require(len(q) == len(k) >= 3 and q[-1] == k[-1] and q[-2] == k[-2], wanted)
    _require(flat(q[-2:-1])[:1] == q[-2] and len(q[-2]) == 1 and q[-2][0].label == "tokens", wanted)
    size = size_of(q[-1:], "channel")
    heads, kv = size_of(q[:-2], "channel"), size_of(k[:-2], "channel")
    times = size_of(k[:-2], "repeat")
    _require(q[-1] == axis("channel", size) and heads % kv == 0 and times == (1 if grouped else heads // kv), wanted)
    groups = (*_steps(kv, size), *axis("repeat", times))
    _require(flat(q[:-2]) == _steps(heads, size) and flat(k[:-2]) == groups, wanted)
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
        _require(
            len(b_axes) >= 3 and flat(b_axes[:-2]) == heads[1] and b_axes[-1] == axis("channel", heads[0].head_dim),
            wanted,
        )
        _require(b_axes[-2] == a_axes[-2], wanted)
        _require(b.structural, f"probabilities times values, got {readable(b)}")
        return _attention(op, query, key, b, replace(heads[0], scale=scale)), (*a_axes[:-1], b_axes[-1])
    turned = (*b_axes[:-2], *b_axes[:-3:-1])
    _require(a.structural and b.structural, f"queries times keys, got {readable(a)} times {readable(b)}")
    found = _heads((a, a_axes), (b, turned))
    keys = axis("keys", size_of(turned[-2:-1], "tokens"))
    return Term("scores", (a, b), op, ((found, flat(turned[:-2])), 1.0)), (*a_axes[:-1], keys)


def _softmax(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    good = term.kind == "masked" and _last(reader, op, 1, axes)
    _require(good, "softmax over the keys of scores plus the causal mask")
    return Term("probabilities", term.inputs, op, term.data), axes


def _sdpa(reader: Reader, op: ir.Operation) -> Value:
    query, key, value = (reader.value(op, i) for i in range(3))
    mask = reader.values.get(op.operands[3])
    dropout, causal, scale, grouped = (reader.number(op, i) for i in range(4, 8))
    seen = mask[0].kind == "mask" if mask else causal is True
    _require(seen and not (mask and causal), "attention with the model's causal mask, got another mask")
    _require(dropout == 0, f"attention without dropout, got {dropout}")
    terms = (query[0], key[0], value[0])
    _require(all(t.structural for t in terms), f"queries, keys and values, got {', '.join(map(readable, terms))}")
    found = _heads(query, key, bool(grouped))
    _require(key[1] == value[1], "keys and values of the same heads")
    found = replace(found, scale=found.head_dim**-0.5 if scale is None else float(scale))
    return _attention(op, *terms, found), query[1]


def _attention(op: ir.Operation, query: Term, key: Term, value: Term, heads: Heads) -> Term:
    return Term("attention", (query, key, value), op, heads, heads.heads * heads.head_dim)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("clone", "contiguous", "alias", "detach"), _same),
    **dict.fromkeys(("to.dtype", "_to_copy", "torch.prims.convert_element_type"), _cast),
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "unsqueeze", "squeeze.dim", "flatten.using_ints"), _view),
    **dict.fromkeys(("broadcast_to", "expand"), _broadcast),
    **dict.fromkeys(("transpose.int", "t"), _transpose),
    **dict.fromkeys(("sum.dim_IntList", "mean.dim"), _mean),
    **dict.fromkeys(("cos", "sin"), _cosine),
    **dict.fromkeys(("bmm", "matmul"), _matmul),
    **dict.fromkeys(("_softmax", "softmax.int"), _softmax),
    "permute": _permute,
    "slice.Tensor": _slice,
    "cat": _cat,
    "pow.Tensor_Scalar": _square,
    "div.Scalar": _divide,
    "add.Scalar": _add_number,
    "rsqrt": _rsqrt,
    "mul.Scalar": _times_number,
    "mul.Tensor": _times,
    "neg": _negated,
    "silu": _silu,
    "embedding": _embedding,
    "linear": _linear,
    "add.Tensor": _plus,
    "scaled_dot_product_attention": _sdpa,
}
