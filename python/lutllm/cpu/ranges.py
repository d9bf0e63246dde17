"""Proof that no integer of a module's linears leaves its width, so that machine code need not look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lutllm.bindings import ir
from lutllm.dialect import LinearOp, fixed_of, lut_ops, scheme_of
from lutllm.errors import IRError
from lutllm.quantize.linear.ranges import validate
from lutllm.scheme import QuantizedLinear


def check_linears(module: ir.Module, store: Mapping[str, np.ndarray]) -> None:
    """Raise NumericsError for a linear that an input could make overflow, InputError for a wrong array."""
    seen = set()
    for op in lut_ops(module):
        if isinstance(op, LinearOp) and op.weights.value not in seen:
            seen.add(op.weights.value)
            validate(_linear(op, store))


def array_of(store: Mapping[str, np.ndarray], symbol: str) -> np.ndarray:
    """The array of a symbol; IRError where there is none. It is read from the disk each time."""
    try:
        return store[symbol]
    except KeyError:
        raise IRError(f"expected '{symbol}' in the store, got none; write it") from None


def _linear(op: Any, store: Mapping[str, np.ndarray]) -> QuantizedLinear:
    """The linear of an op, its arrays from the store."""
    arrays = {p.attribute: array_of(store, p.symbol) for p in op.parameters() if p.attribute != "tables"}
    meaning = fixed_of(op.x.type)
    pairs = op.x.type.shape[-1] // 2
    return QuantizedLinear(
        name=op.weights.value,
        input_name="",
        scheme=scheme_of(op),
        exponents=array_of(store, str(meaning[1])) if meaning else np.zeros(pairs, np.int8),
        codebook=arrays.get("codebook"),
        weight_codebook=arrays["weight_codebook"],
        codes=arrays["codes"],
        shifts=arrays["shifts"],
        multiplier=arrays["multiplier"],
        bias=arrays["bias"],
        shift=int(op.shift.value),
        out_exponent=0,
    )
