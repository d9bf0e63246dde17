"""Which ops of the float level have an integer form: a graph in, what keeps it from one out.

A wide value has one exponent for all channels: what embeddings, norms, linears, RoPE and sums make. Attention, gated
activations and float arguments have an exponent for each pair of channels: that of the linear that reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lutllm import dialect
from lutllm.bindings import ir, source_position
from lutllm.errors import IRError
from lutllm.functions import SHARES
from lutllm.lowering.quantize.graph import FloatGraph, maker

NORMS = ("rms", "layer")
_WIDE = (
    dialect.FloatEmbeddingOp,
    dialect.FloatNormOp,
    dialect.FloatLinearOp,
    dialect.FloatRopeOp,
    dialect.FloatSliceOp,
    dialect.FloatTanhOp,
    dialect.FloatAddOp,
)
_PER_PAIR = (dialect.FloatAttentionOp, dialect.FloatGatedOp)


@dataclass(frozen=True)
class Problem:
    """What is wrong at an op, as `expected ..., got ...; what to do`."""

    op: Any
    message: str


class Unquantizable(IRError):
    """A graph that cannot become integers, and everything that is in the way."""

    def __init__(self, found: Sequence[Problem]) -> None:
        op, more = found[0].op.operation, f"; and {len(found) - 1} more" if len(found) > 1 else ""
        super().__init__(f"'{op.name}' op {found[0].message}{more}", location=source_position(op.location))
        self.problems = found


def require_integer_form(graph: FloatGraph) -> None:
    if found := problems(graph):
        raise Unquantizable(found)


def problems(graph: FloatGraph) -> list[Problem]:
    """Everything in a graph that has no integer form, in order."""
    found = [Problem(graph.function, message) for message in _of_function(graph)]
    return found + [Problem(op, message) for op in graph.ops for message in _of_op(graph, op)]


def is_wide(value: ir.Value) -> bool:
    return isinstance(maker(value), _WIDE)


def is_ids(value: ir.Value) -> bool:
    return str(value.type) == "tensor<?xi32>"


def is_position(value: ir.Value) -> bool:
    return str(value.type) == "tensor<1xi32>"


def _of_function(graph: FloatGraph) -> Iterator[str]:
    for argument in graph.arguments:
        if not is_ids(argument) and not is_position(argument):
            yield from _read_by_linears(graph, argument, f"argument {argument.arg_number}")
    for i, result in enumerate(graph.results):
        if not is_wide(result):
            got = maker(result)
            yield _expected_wide(f"result {i}", "an argument" if got is None else f"that of '{got.operation.name}'")
    if graph.of(dialect.FloatAttentionOp) and graph.of(dialect.FloatEmbeddingOp) and len(graph.results) != 1:
        yield f"expected one result, the logits, got {len(graph.results)}; return it alone"


def _of_op(graph: FloatGraph, op: Any) -> Iterator[str]:
    if isinstance(op, dialect.FloatNormOp):
        yield from _known("kind", op, NORMS)
    elif isinstance(op, dialect.FloatGatedOp):
        yield from _known("activation", op, tuple(SHARES))
    elif isinstance(op, dialect.FloatLinearOp):
        inputs = op.x.type.shape[1]
        if inputs % 2:
            yield f"expected an even number of inputs (pairs), got {inputs}; pad the input and the weight by a zero"
    elif not isinstance(op, (*_WIDE, *_PER_PAIR)):
        yield "expected an op with an integer form, got none; leave this part out or quantize its linears alone"
    if isinstance(op, _PER_PAIR):
        yield from _read_by_linears(graph, op.y, "its result")
    for name in _READS.get(type(op), ()):
        value = getattr(op, name)
        if value is not None and not is_wide(value):
            yield _expected_wide(name, "an argument" if maker(value) is None else f"'{maker(value).operation.name}'")


_READS = {
    dialect.FloatNormOp: ("x",),
    dialect.FloatRopeOp: ("x",),
    dialect.FloatSliceOp: ("x",),
    dialect.FloatTanhOp: ("x",),
    dialect.FloatAddOp: ("a", "b"),
    dialect.FloatGatedOp: ("gate", "up"),
    dialect.FloatAttentionOp: ("query", "keys", "values"),
}


def _known(attribute: str, op: Any, known: tuple[str, ...]) -> Iterator[str]:
    value = op.operation.attributes[attribute].value
    if value not in known:
        yield f"expected {attribute} with an integer form ({', '.join(known)}), got '{value}'; change the model"


def _expected_wide(what: str, got: str) -> str:
    return (
        f"expected {what} of an embedding, a norm, a linear, RoPE or a sum, got {got}, whose exponents are those of "
        "the linear that reads it; put a linear between"
    )


def _read_by_linears(graph: FloatGraph, value: ir.Value, what: str) -> Iterator[str]:
    """Values with an exponent for each pair take those of the linears that read them, and need some."""
    if not any(isinstance(reader, dialect.FloatLinearOp) for reader in graph.readers(value)):
        yield f"expected a linear to read {what}, whose exponents are that linear's, got none; end in a linear"
