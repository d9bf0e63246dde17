"""Whether arrays are what a `lut` program needs: types, shapes, ranges of values. `InputError` at the first wrong one.

Widths, shifts and exponents stand in the program, whose verifiers check them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lutllm import dialect, store
from lutllm.bindings import ir
from lutllm.dialect.attributes import exponents_of
from lutllm.dialect.decoders.attention import score_problem
from lutllm.dialect.linears.parameters import Parameter
from lutllm.dialect.symbols import op_parameters
from lutllm.errors import InputError
from lutllm.scheme import MULTIPLIER_BITS, QuantizedLinear

GAIN_BITS = 24
_MULTIPLIER = (1, (1 << (MULTIPLIER_BITS - 1)) - 1)
_RANGES = {
    ("lut.embedding", "multiplier"): _MULTIPLIER,
    ("lut.attention", "multiplier"): _MULTIPLIER,
    ("lut.rms_norm", "gain"): (1 - (1 << (GAIN_BITS - 1)), (1 << (GAIN_BITS - 1)) - 1),
}


def check_model(program: ir.Module, arrays: Mapping[str, np.ndarray], linears: Mapping[str, QuantizedLinear]) -> None:
    """Check the arrays of a program: those of linears, which must agree on the inputs they share, and the others."""
    found = {**arrays, **store.linears_tensors(linears)}
    seen: set[tuple[str, str]] = set()
    for op in dialect.lut_ops(program):
        name = op.operation.name
        for p in op_parameters(op):
            if (name, p.symbol) not in seen:
                seen.add((name, p.symbol))
                _check(p, found.get(p.symbol), _RANGES.get((name, p.attribute)))
        if isinstance(op, dialect.AttentionOp):
            query, keys = (found[exponents_of(value)] for value in (op.query, op.keys))
            problem = score_problem(query, keys, int(op.heads.value), int(op.kv_heads.value))
            if problem:
                raise InputError(f"'{exponents_of(op.query)}': {problem}")


def _check(p: Parameter, array: Any, limits: tuple[int, int] | None) -> None:
    wanted = f"{p.dtype} {list(p.shape)}"
    got = "none" if array is None else f"{array.dtype} {list(array.shape)}"
    if got != wanted:
        raise InputError(f"'{p.symbol}': expected {wanted}, got {got}; quantize again")
    if limits and array.size and not limits[0] <= array.min() <= array.max() <= limits[1]:
        raise InputError(f"'{p.symbol}': expected values in {limits[0]}..{limits[1]}, got {array.min()}..{array.max()}")
