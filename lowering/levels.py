"""The levels a program goes through, and what may stand at each; the driver checks the contract after each stage."""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

from lutllm import dialect
from lutllm.bindings import ir, ops_below
from lutllm.dialect.base import LutOp
from lutllm.dialect.decoders import attention, ops
from lutllm.dialect.floats import ops as floats
from lutllm.dialect.linears import lookup, rows, search
from lutllm.dialect.machines import machine, placement


class Level(NamedTuple):
    """`dialects` may appear, and of `lut` only `lut_ops`."""

    dialects: tuple[str, ...]
    lut_ops: tuple[str, ...] = ()


def _ops(*modules: ModuleType) -> tuple[str, ...]:
    """The lut ops that modules define."""
    defined = [each for module in modules for each in vars(module).values() if isinstance(each, type)]
    own = [each for each in defined if each.__module__ in {module.__name__ for module in modules}]
    return tuple(each.OPERATION_NAME for each in own if issubclass(each, LutOp) and hasattr(each, "OPERATION_NAME"))


_SCHEME, _PLACES = ("lut.scheme",), _ops(machine, placement)
_DECODER, _STEPS = _ops(ops, attention), _ops(search, rows, lookup)
_BUILTIN, _TORCH = ("builtin", "func", "ml_program"), ("torch", "torch_c")
_INTEGERS = (*_BUILTIN, "lut")
LEVELS = {
    "torch": Level((*_BUILTIN, *_TORCH)),
    "float": Level(_INTEGERS, _ops(floats)),
    "mixed": Level((*_BUILTIN, *_TORCH, "lut"), (*_SCHEME, "lut.quantize", "lut.linear", "lut.dequantize")),
    "lut": Level(_INTEGERS, (*_SCHEME, "lut.linear", *_DECODER)),
    "steps": Level(_INTEGERS, (*_SCHEME, *_STEPS, *_DECODER)),
    "placed": Level(_INTEGERS, (*_SCHEME, *_PLACES, *_STEPS, *_DECODER)),
    "scheduled": Level(_INTEGERS, (*_SCHEME, "lut.task", *_PLACES, *_STEPS, *_DECODER)),
}


def check_level(module: ir.Module, name: str) -> None:
    """Raise `IRError` at the first op that level `name` does not allow."""
    level = LEVELS[name]
    for op in ops_below(module.operation):
        space = op.name.split(".")[0]
        if space not in level.dialects or (space == "lut" and op.name not in level.lut_ops):
            raise dialect.fault(op, f"may not stand at level {name}, which has {', '.join(level.dialects)} only")
