"""The linears of torch-level IR: what each is called, and whether it can become `lut.linear`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lutllm.bindings import ir, module_path, ops_below

LINEAR = "torch.aten.linear"
_VTENSOR = re.compile(r"!torch\.vtensor<\[([\d?,]*)\],(\w+)>")
_FLOATS = ("f32", "bf16", "f16")


def linears_in(root: ir.Operation) -> list[ir.Operation]:
    """Every torch.aten.linear, in order."""
    return [op for op in ops_below(root) if op.name == LINEAR]


def linear_name(op: ir.Operation, known: Mapping[str, object]) -> str:
    """The linear's name: its module path, or its weight's symbol where only that is `known`.

    A tied weight has the name of the first module that uses it, so the path goes first.
    """
    path, weight = module_path(op.location), weight_symbol(op)
    by_weight = weight.removesuffix(".weight") if weight else None
    names = [name for name in (path, by_weight, weight) if name]
    return next((name for name in names if name in known), names[0] if names else "linear")


def weight_symbol(op: ir.Operation) -> str | None:
    """The global a linear's weight is loaded from, None where the weight is computed."""
    return parameter_symbol(op.operands[1])


def parameter_symbol(value: ir.Value) -> str | None:
    """The global a value is loaded from."""
    load = producer(value, "torch_c.from_builtin_tensor")
    load = producer(load.operands[0], "ml_program.global_load_const") if load else None
    return ir.FlatSymbolRefAttr(load.attributes["global"]).value if load else None


def not_convertible(op: ir.Operation) -> str | None:
    """Why a linear cannot become `lut.linear` whatever its parameters, as `expected ..., got ...; what to do`."""
    reason, weight = not_linear(op), sizes_of(op.operands[1])
    if reason or weight is None:
        return reason
    return odd_width(weight[0][1])


def odd_width(channels: int | None) -> str | None:
    """Why inputs of so many channels have no pairs."""
    if channels is None or channels % 2:
        return f"expected an even input width (whole pairs), got {channels}; pad the input and the weight by a zero"
    return None


def not_linear(op: ir.Operation) -> str | None:
    """Why an op is no linear layer of tokens, likewise."""
    if weight_symbol(op) is None:
        return "expected a weight that is a parameter, got a computed one; store it as a parameter"
    x, weight, y = (sizes_of(v) for v in (op.operands[0], op.operands[1], op.results[0]))
    if x is None or weight is None or y is None or y[1] not in _FLOATS:
        return f"expected tensors of {', '.join(_FLOATS)}, got {op.operands[0].type}; convert the module"
    if len(x[0]) < 2:
        return "expected an input with a dimension of tokens, got a vector; use shape [1, inputs]"
    return None


def producer(value: ir.Value, name: str) -> ir.Operation | None:
    owner = value.owner
    return owner.operation if not isinstance(owner, ir.Block) and owner.operation.name == name else None


def sizes_of(value: ir.Value) -> tuple[list[int | None], str] | None:
    """(sizes, element type) of a !torch.vtensor of known rank; None stands for a dynamic size."""
    match = _VTENSOR.fullmatch(str(value.type))
    if not match:
        return None
    return [None if size == "?" else int(size) for size in match[1].split(",") if size], match[2]


def known_sizes(value: ir.Value) -> tuple[list[int | None], str]:
    """As `sizes_of`, of a value that `not_convertible` has looked at."""
    found = sizes_of(value)
    assert found is not None
    return found
