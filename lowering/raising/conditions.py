"""What rules share: conditions that become messages."""

from __future__ import annotations

from typing import TypeVar

from lutllm.bindings import ir
from lutllm.lowering.raising.axes import Axes
from lutllm.lowering.raising.reader import Mismatch, Reader

FoundT = TypeVar("FoundT")


def require(good: bool, expected: str) -> None:
    if not good:
        raise Mismatch(f"expected {expected}")


def required(found: FoundT | None, expected: str) -> FoundT:
    if found is None:
        raise Mismatch(f"expected {expected}")
    return found


def is_last(reader: Reader, op: ir.Operation, i: int, axes: Axes) -> bool:
    """Whether operand `i` names the last dimension."""
    found = reader.number(op, i)
    found = found[0] if isinstance(found, list) and len(found) == 1 else found
    return found in (-1, len(axes) - 1)
