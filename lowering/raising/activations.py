"""Activations written out in elementwise ops: what an op makes of the values of one linear in, a known activation out.

An expression is known by its values at `SAMPLES`, whatever ops it is made of: it becomes an activation where these are
those of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from lutllm.bindings import ir
from lutllm.lowering.raising.reader import Mismatch, Reader, Rule, Term, Value

SAMPLES = np.linspace(-6.0, 6.0, 97)
_SAME = 1e-6  # apart; those of the two kinds of GELU differ by 5e-4
_ERF = np.vectorize(math.erf)
_SIGMOID = 1 / (1 + np.exp(-SAMPLES))
_KNOWN = {
    "silu": SAMPLES * _SIGMOID,
    "gelu": SAMPLES * (1 + _ERF(SAMPLES / math.sqrt(2))) / 2,
    "gelu_tanh": SAMPLES * (1 + np.tanh(math.sqrt(2 / math.pi) * (SAMPLES + 0.044715 * SAMPLES**3))) / 2,
    "relu": np.maximum(SAMPLES, 0),
}


def or_written(rule: Rule, compute: Callable[..., np.ndarray]) -> Rule:
    """`rule`, and where it does not apply the op as a part of an activation, of which it computes `compute`."""

    def tried(reader: Reader, op: ir.Operation) -> Value | list[Value]:
        try:
            return rule(reader, op)
        except Mismatch:
            found = _written(reader, op, compute)
            if found is None:
                raise
            return found

    return tried


def _written(reader: Reader, op: ir.Operation, compute: Callable[..., np.ndarray]) -> Value | None:
    """What an op makes of one linear and of numbers; None where it reads anything else."""
    operands, arguments, plain = [], [], []
    for value in op.operands:
        if value in reader.values:
            operands.append(reader.values[value])
        elif isinstance(number := reader.plain.get(value), (int, float)):
            plain.append(float(number))
    base = next((base for term, _ in operands if (base := _base(reader, term)) is not None), None)
    shapes = {axes for term, axes in operands if term.kind != "number"}
    if base is None or len(shapes) != 1:
        return None
    for term, _ in operands:
        samples = np.full(SAMPLES.shape, term.data) if term.kind == "number" else _samples(term, base)
        if samples is None:
            return None
        arguments.append(samples)
    values = compute(*arguments, *plain[: 2 - len(arguments)])
    (axes,) = shapes
    name = next((name for name, known in _KNOWN.items() if np.abs(values - known).max() < _SAME), None)
    if name is not None:
        return Term("gated", (base,), op, name, base.channels), axes
    return Term("expression", (base,), op, values), axes


def _base(reader: Reader, term: Term) -> Term | None:
    """The linear that a term is an expression of, as it came out of its op."""
    of = term.inputs[0] if term.kind in ("expression", "square") else term
    return reader.values[of.op.result][0] if of.kind == "linear" and of.op is not None else None


def _samples(term: Term, base: Term) -> np.ndarray | None:
    """The values of a term where the linear's are `SAMPLES`; None where it is made of anything else."""
    if term.kind == "expression":
        return term.data if term.inputs[0] is base else None
    of = term.inputs[0] if term.kind == "square" else term
    if of.kind != "linear" or of.op != base.op:
        return None
    return (SAMPLES * (of.data.scale / base.data.scale)) ** (2 if term.kind == "square" else 1)


ELEMENTWISE: Mapping[str, Callable[..., np.ndarray]] = {
    "pow.Tensor_Scalar": np.power,
    "mul.Scalar": np.multiply,
    "mul.Tensor": np.multiply,
    "div.Scalar": np.divide,
    "add.Scalar": np.add,
    "add.Tensor": np.add,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "erf": _ERF,
}
