"""What torch ops compute, a rule for each: a function goes in, what each of its values is comes out.

Rules know embedding, RMSNorm, linear, RoPE, attention (eager and SDPA), gated SiLU and sums, wherever they stand and
whatever they read. Casts between float types and changes of layout are no terms; `Axes` follow the layout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lutllm.bindings import ir
from lutllm.lowering.raising import attention, rotary
from lutllm.lowering.raising.activations import ELEMENTWISE, or_written
from lutllm.lowering.raising.attention import masked
from lutllm.lowering.raising.axes import (
    Axes,
    are_rows,
    axis,
    broadcast,
    fits_in,
    flat,
    reshaped,
    size_of,
)
from lutllm.lowering.raising.conditions import is_last, require, required
from lutllm.lowering.raising.linears import linear_name, not_linear, parameter_symbol
from lutllm.lowering.raising.missing import missing
from lutllm.lowering.raising.reader import (
    FLOATS,
    NO_ACTIVATION,
    UNKNOWN,
    Mismatch,
    Reader,
    Rule,
    Term,
    Value,
    readable,
    static_sizes,
)


@dataclass(frozen=True)
class Norm:
    """The symbol of the gain, what is added to it, and how many equal groups of channels are normed by themselves."""

    gain: str
    epsilon: float
    groups: int
    offset: float = 0.0
    kind: str = "rms"
    bias: str | None = None


@dataclass(frozen=True)
class Linear:
    """A linear by its module path, the symbols of its parameters, and what its result is multiplied by."""

    name: str
    weight: str
    bias: str | None
    scale: float = 1.0


@dataclass(frozen=True)
class Embedding:
    """The symbol of the table, what its rows are multiplied by, and of positions the row of the first."""

    weight: str
    scale: float = 1.0
    offset: int | None = None


def read_function(function: Any) -> Reader:
    """What every value of a model's function is."""
    return Reader(function, RULES)


# --- layout --------------------------------------------------------------------------------------------------------


def _same(reader: Reader, op: ir.Operation) -> Value:
    return reader.value(op, 0)


def _cast(reader: Reader, op: ir.Operation) -> Value:
    """To a float type: norms and RoPE are computed in float32 whatever the model's type."""
    require(str(op.result.type).endswith(FLOATS), "a cast to a float type")
    return reader.value(op, 0)


def _relaid(change: Callable[[Axes, Sequence[int]], Axes | None], expected: str) -> Rule:
    """The same term with its axes changed to the sizes of the result."""

    def rule(reader: Reader, op: ir.Operation) -> Value:
        term, axes = reader.value(op, 0)
        return rotary.relaid(op, term, required(change(axes, static_sizes(op.result) or ()), expected))

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


# --- norms, RoPE, activations --------------------------------------------------------------------------------------


def _square(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    require(reader.number(op, 1) == 2, f"a square, got a power of {reader.number(op, 1)}")
    return Term("square", (term,), op), axes


def _mean(reader: Reader, op: ir.Operation) -> Value:
    """`sum.dim_IntList` or `mean.dim` of squares along the last dimension, which stays as size 1."""
    term, axes = reader.value(op, 0)
    kept = is_last(reader, op, 1, axes) and reader.number(op, 2) is True
    wanted = "the mean of the last dimension, or of its squares, as a norm takes it"
    require((term.kind == "square" or term.structural) and kept, wanted)
    kind, inputs = ("square", term.inputs) if term.kind == "square" else ("value", (term,))
    return Term(f"{'mean' if 'mean' in op.name else 'sum'}_{kind}", inputs, op, flat((axes[-1],))), (*axes[:-1], ())


def _divide(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    by = reader.number(op, 1)
    if _is_scalable(term):
        return _scaled(term, op, 1 / by), axes
    good = term.kind in ("sum_square", "sum_value") and len(term.data) == 1 and by == term.data[0].size
    require(good, "a sum of squares divided by their number, or scores, a linear or an embedding divided by a scale")
    return Term(term.kind.replace("sum", "mean"), term.inputs, op), axes


def _minus(reader: Reader, op: ir.Operation) -> Value:
    """A value less its mean, or positions less positions."""
    (a, axes), (b, b_axes) = reader.value(op, 0), reader.value(op, 1)
    if b.kind != "mean_value":
        return attention.difference(reader, op)
    good = a is b.inputs[0] and fits_in(b_axes, axes) and reader.number(op, 2) == 1
    require(good, "a value less its own mean, as a LayerNorm takes it")
    return Term("centered", (a,), op), axes


def _layer_norm(reader: Reader, op: ir.Operation) -> Value:
    """x, sizes, gain, bias, epsilon, a flag."""
    x, axes = reader.value(op, 0)
    sizes, gain = reader.number(op, 1), parameter_symbol(op.operands[2])
    bias, none = parameter_symbol(op.operands[3]), str(op.operands[3].type) == "!torch.none"
    channels = static_sizes(op.operands[0]) or [0]
    require(x.structural and sizes == channels[-1:] and len(flat(axes[-1:])) <= 1, "a norm of all channels or of heads")
    require(gain is not None and (none or bias is not None), "a gain, and a bias if any, that are parameters")
    data = Norm(gain or "", float(reader.number(op, 4)), x.channels // sizes[0], 0.0, "layer", bias)
    return Term("norm", (x,), op, data, x.channels), axes


def _add_number(reader: Reader, op: ir.Operation) -> Value:
    """Epsilon to a mean of squares, or an offset to the gain of a norm."""
    term, axes = reader.value(op, 0)
    if term.kind == "integers" and reader.number(op, 2) == 1:
        return Term("shifted", (term,), op, int(reader.number(op, 1))), axes
    wanted = "epsilon added to a mean of squares, or an offset to the gain of a norm or to positions"
    require(term.kind in ("mean_square", "parameter") and reader.number(op, 2) == 1, wanted)
    if term.kind == "parameter":
        return Term("gain", op=op, data=(term.data, float(reader.number(op, 1)))), axes
    return Term("variance", term.inputs, op, float(reader.number(op, 1))), axes


def _rsqrt(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    require(term.kind == "variance", "the inverse square root of a mean of squares plus epsilon")
    return Term("inverse_rms", term.inputs, op, term.data), axes


def _times_number(reader: Reader, op: ir.Operation) -> Value:
    term, axes = reader.value(op, 0)
    good = term.kind in ("cosine", "sine") or _is_scalable(term)
    require(good, "scores, cosines, sines, a linear or an embedding times a number")
    return _scaled(term, op, float(reader.number(op, 1))), axes


def _is_scalable(term: Term) -> bool:
    return term.kind in ("scores", "capped", "tanh", "linear", "embedding")


def _scaled(term: Term, op: ir.Operation, by: float) -> Term:
    """A value times a number, where its kind has room for it. Of a linear or an embedding the place stays its own."""
    require(by > 0, f"a factor above 0, got {by}")
    if term.kind == "capped":
        (heads, groups), scale = term.data
        return Term("scores", term.inputs, op, ((replace(heads, softcap=by), groups), scale * by))
    if term.kind == "tanh":
        return replace(term, data=term.data * by)
    if not term.structural:
        return Term(term.kind, term.inputs, op, (term.data[0], term.data[1] * by))
    return replace(term, data=replace(term.data, scale=term.data.scale * by))


def _times(reader: Reader, op: ir.Operation) -> Value:
    a, b = reader.value(op, 0), reader.value(op, 1)
    return required(
        _product(op, a, b) or _product(op, b, a),
        "a product of a norm, of RoPE or of an activation and up, "
        f"got {readable(a[0])} times {readable(b[0])} of shapes {static_sizes(op.operands[0])} and "
        f"{static_sizes(op.operands[1])}",
    )


def _product(op: ir.Operation, left: Value, right: Value) -> Value | None:
    (a, axes), (b, b_axes) = left, right
    if b.kind == "number" and _is_scalable(a):
        return _scaled(a, op, b.data), axes
    if a is b and axes == b_axes:
        return Term("square", (a,), op), axes
    plain = axes[-1:] == b_axes[-1:] and len(axes[-1:]) == 1 and len(flat(axes[-1:])) <= 1
    same = b.kind == "inverse_rms" and ((b.inputs[0] is a and a.structural) or _centered(a) == _centered(b.inputs[0]))
    if same and fits_in(b_axes, axes):
        return Term("normalised", (a,), op, b.data), axes
    if a.kind == "normalised" and b.kind in ("parameter", "gain") and len(b_axes) == 1 and plain:
        of = a.inputs[0]
        x, kind = (of.inputs[0], "layer") if of.kind == "centered" else (of, "rms")
        gain, offset = (b.data, 0.0) if b.kind == "parameter" else b.data
        data = Norm(gain, a.data, x.channels // size_of(b_axes, "channel"), offset, kind)
        return Term("norm", (x,), op, data, x.channels), axes
    if found := rotary.product(op, left, right):
        return found
    if a.kind == "gated" and len(a.inputs) == 1 and b.structural and axes == b_axes:
        return Term("gated", (*a.inputs, b), op, a.data, b.channels), axes
    return None


def _tanh(reader: Reader, op: ir.Operation) -> Value:
    """Of scores or of logits, which a product with the cap follows."""
    term, axes = reader.value(op, 0)
    require(term.structural or term.kind == "scores", "scores or logits divided by a soft-cap")
    if term.structural:
        return Term("tanh", (term,), op, 1.0, term.channels), axes
    return Term("capped", term.inputs, op, term.data), axes


def _centered(term: Term) -> Term | None:
    """What a centered value is made of; other values have none."""
    return term.inputs[0] if term.kind == "centered" else None


def _activation(reader: Reader, op: ir.Operation) -> Value:
    """An activation alone; the product with another value makes it a gate."""
    term, axes = reader.value(op, 0)
    name = op.name.rpartition(".")[2]
    if name == "gelu" and reader.number(op, 1) == "tanh":
        name = "gelu_tanh"
    require(term.structural, f"{name} of a value that lut ops compute, got {readable(term)}")
    return Term("gated", (term,), op, name, term.channels), axes


def _embedding(reader: Reader, op: ir.Operation) -> Value:
    (table, axes), (ids, tokens) = reader.value(op, 0), reader.value(op, 1)
    symbol = parameter_symbol(op.operands[0])
    good = symbol is not None and len(axes) == 2 and ids.kind in ("integers", "shifted")
    require(good, "a table of embeddings, a parameter, read at an input of token ids or of positions")
    inputs, data = reader.embedded(ids), Embedding(symbol or "")
    if len(inputs) > 1:
        data = replace(data, offset=ids.data or 0)
    return Term("embedding", (table, *inputs), op, data, size_of(axes[1:], "channel")), (*tokens, axes[-1])


def _linear(reader: Reader, op: ir.Operation) -> Value:
    reason = not_linear(op)
    if reason:
        raise Mismatch(reason)
    term, axes = reader.value(op, 0)
    sizes = static_sizes(op.operands[1])
    bias = parameter_symbol(op.operands[2])
    none = str(op.operands[2].type) == "!torch.none"
    require(sizes is not None and len(sizes) == 2, "a weight [outputs, inputs]")
    require(none or bias is not None, "a bias that is a parameter, got a computed one")
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
    expected = f"expected rows of all channels of one token each, as the input of a linear, got {readable(term)}"
    if term.op is None:
        raise Mismatch(expected)
    reader.note(term.op, NO_ACTIVATION if term.kind == "expression" else expected)
    return False


def _plus(reader: Reader, op: ir.Operation) -> Value:
    a, b = reader.value(op, 0), reader.value(op, 1)
    require(reader.number(op, 2) == 1, "a sum without a factor")
    return required(
        _sum(op, a, b) or _sum(op, b, a),
        "a sum of two values of one shape, of the two products of RoPE, or of scores and the causal mask, "
        f"got {readable(a[0])} plus {readable(b[0])}",
    )


def _sum(op: ir.Operation, left: Value, right: Value) -> Value | None:
    (a, axes), (b, b_axes) = left, right
    if found := rotary.rotation(op, left, right):
        return found
    if found := masked(op, left, right):
        return found
    if a.structural and b.structural and axes == b_axes:
        for both, stream in ((a, b), (b, a)):
            if both.kind == "add" and {term.kind for term in both.inputs} == {"linear"} and stream.kind != "linear":
                # Both branches of a layer at once: one after the other, as an accelerator adds to the stream.
                first, b = both.inputs
                a = replace(both, inputs=(stream, first))
                break
        return Term("add", (a, b), op, None, a.channels), axes
    return None


def _no_rule(_: Reader, op: ir.Operation) -> Value:
    raise Mismatch(missing(op, op.name.removeprefix("torch.aten.")))


RULES: dict[str, Rule] = {
    **dict.fromkeys(("clone", "contiguous", "alias", "detach"), _same),
    **dict.fromkeys(("to.dtype", "_to_copy", "prims.convert_element_type"), _cast),
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "unsqueeze", "squeeze.dim", "flatten.using_ints"), _view),
    **rotary.RULES,
    **dict.fromkeys(("broadcast_to", "expand"), _broadcast),
    **dict.fromkeys(("transpose.int", "t"), _transpose),
    **dict.fromkeys(("sum.dim_IntList", "mean.dim"), _mean),
    **dict.fromkeys(("silu", "gelu", "relu"), _activation),
    "permute": _permute,
    "pow.Tensor_Scalar": _square,
    "div.Scalar": _divide,
    "add.Scalar": _add_number,
    "rsqrt": _rsqrt,
    "mul.Scalar": _times_number,
    "mul.Tensor": _times,
    "embedding": _embedding,
    "linear": _linear,
    "add.Tensor": _plus,
    **attention.RULES,
    "sub.Tensor": _minus,
    "tanh": _tanh,
    "layer_norm": _layer_norm,
}
RULES |= {name: or_written(RULES.get(name, _no_rule), compute) for name, compute in ELEMENTWISE.items()}
