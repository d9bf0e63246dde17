"""Proof that no integer of a module's linears leaves its width, so that machine code need not look."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lutllm.bindings import ir
from lutllm.dialect import LinearOp, lut_ops
from lutllm.dialect.linears.layer import linear_of
from lutllm.dialect.symbols import op_parameters
from lutllm.errors import IRError
from lutllm.quantizer.linear.ranges import validate


def check_linears(module: ir.Module, store: Mapping[str, np.ndarray]) -> None:
    """Raise NumericsError for a linear that an input could make overflow, InputError for a wrong array."""
    seen = set()
    for op in lut_ops(module):
        if isinstance(op, LinearOp) and op.weights.value not in seen:
            seen.add(op.weights.value)
            needed = [p for p in op_parameters(op) if p.attribute != "tables"]
            validate(linear_of(op, {p.attribute: array_of(store, p.symbol) for p in needed}))


def array_of(store: Mapping[str, np.ndarray], symbol: str) -> np.ndarray:
    """The array of a symbol; IRError where there is none. It is read from the disk each time."""
    try:
        return store[symbol]
    except KeyError:
        raise IRError(f"expected '{symbol}' in the store, got none; write it") from None
