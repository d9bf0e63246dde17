"""Quantized linears in memory as a lut program: `QuantizedLinear`s in, a module of one function and its arrays out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from lutllm import dialect
from lutllm.bindings import func, ir
from lutllm.scheme import QuantizedLinear

FUNCTION = "prefill"


def linear_program(
    linears: Sequence[QuantizedLinear], row_sources: Mapping[str, str] = MappingProxyType({})
) -> tuple[ir.Module, dict[str, np.ndarray]]:
    """@prefill(x...) -> y...: each linear once, in order, any number of tokens; those with one `input_name` share an
    argument. `row_sources` of linears by name, where that is not left to `lut-decompose`. And the arrays that it names.
    """
    inputs = dict.fromkeys(linear.input_name for linear in linears)
    tensors: dict[str, np.ndarray] = {}
    with dialect.context(), ir.Location.unknown():
        module = ir.Module.create()
        for linear in linears:
            tensors |= linear.tensors()
        for name, array in tensors.items():
            dialect.declare(module, name, array.shape, array.dtype)
        schemes = {linear.scheme: dialect.declare_scheme(module, linear.scheme) for linear in linears}
        types = [_input_type(_of(linears, name)) for name in inputs]
        results = [_type(q.outputs, "i32", dialect.fixed(q.scheme.out_bits, int(q.out_exponent))) for q in linears]
        with ir.InsertionPoint(module.body):
            function = func.FuncOp(FUNCTION, (types, results))
            block = function.add_entry_block([ir.Location.name(name) for name in inputs])
        values = dict(zip(inputs, block.arguments, strict=True))
        with ir.InsertionPoint(block):
            func.ReturnOp([_linear(q, values, schemes[q.scheme], row_sources.get(q.name)) for q in linears])
    return module, tensors


def _linear(linear: QuantizedLinear, values: Mapping[str, ir.Value], scheme: str, row_source: str | None) -> ir.Value:
    searched = linear.scheme.kind == "vq"
    with ir.Location.name(linear.name):
        return dialect.linear(
            values[linear.input_name],
            scheme=scheme,
            weights=linear.name,
            shift=int(linear.shift),
            out_exponent=int(linear.out_exponent),
            codebook=f"{linear.input_name}.codebook" if searched else None,
            tables=linear.tables is not None,
            unbiased=not linear.bias.any(),
            row_source=row_source,
            outputs=linear.outputs,
        )


def _of(linears: Sequence[QuantizedLinear], input_name: str) -> QuantizedLinear:
    return next(linear for linear in linears if linear.input_name == input_name)


def _input_type(linear: QuantizedLinear) -> ir.Type:
    meaning = dialect.fixed(linear.scheme.x_bits, f"{linear.input_name}.exponents")
    return _type(2 * linear.pairs, "i16", meaning)


def _type(channels: int, element: str, encoding: ir.Attribute) -> ir.Type:
    return ir.RankedTensorType.get([ir.ShapedType.get_dynamic_size(), channels], ir.Type.parse(element), encoding)
