"""Linears of an odd number of inputs, which make no pairs: a model in; in place, the same with channels of zeros, out.

Between the linears of an MLP a channel more is no other model: weights and biases are 0, and so are activations of 0.
"""

from __future__ import annotations

from typing import Any

import torch

from lutllm import dialect
from lutllm.errors import IRError
from lutllm.importer import import_module
from lutllm.importer.agreement import raise_to_float
from lutllm.lowering.quantize.graph import FloatGraph, maker, name_of
from lutllm.models.wrappers import whole_model


def pad_odd_linears(causal_lm: Any) -> None:
    """Pad linears that read an activation of odd width, and the linears that this is of, where nothing else reads
    these. Others stay as they are, and are refused as integers."""
    if not any(isinstance(m, torch.nn.Linear) and m.in_features % 2 for m in causal_lm.modules()):
        return
    imported = import_module(*whole_model(causal_lm))
    try:
        raise_to_float(imported.module)
    except IRError:  # said again, and better, by whoever wants the float level
        return
    graph = FloatGraph(imported.module)
    for gated in (op for op in graph.of(dialect.FloatGatedOp) if op.y.type.shape[1] % 2):
        makers, readers = [maker(value) for value in gated.operation.operands], graph.readers(gated.y)
        linears = all(isinstance(op, dialect.FloatLinearOp) for op in (*makers, *readers))
        if linears and all(len(graph.readers(op.y)) == 1 for op in makers):
            for op in makers:
                _pad(causal_lm.get_submodule(name_of(op)), rows=1)
            for op in readers:
                _pad(causal_lm.get_submodule(name_of(op)), columns=1)


def _pad(linear: Any, rows: int = 0, columns: int = 0) -> None:
    def padded(parameter: Any, *amounts: int) -> Any:
        return torch.nn.Parameter(torch.nn.functional.pad(parameter.detach(), amounts), parameter.requires_grad)

    linear.weight = padded(linear.weight, 0, columns, 0, rows)
    if linear.bias is not None and rows:
        linear.bias = padded(linear.bias, 0, rows)
    linear.out_features, linear.in_features = linear.weight.shape
