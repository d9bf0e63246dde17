"""Find and erase lut ops below an operation."""

from typing import TypeVar

from lutllm import dialect
from lutllm.bindings import ext, ir, ops_below

OpT = TypeVar("OpT", bound=dialect.LutOp)


def ops_in(root: ir.Operation, kind: type[OpT]) -> list[OpT]:
    """Every op of the class `kind` in `root`, in order; collected first, so that the caller may erase them."""
    return [view for op in ops_below(root) if isinstance(view := op.opview, kind)]


def erase_dead(root: ir.Operation) -> None:
    """Erase the pure lut ops that nobody uses, last first, so that a dead chain goes as a whole."""
    for op in reversed(ops_in(root, dialect.LutOp)):
        if ext.Pure in op._traits and not any(list(result.uses) for result in op.operation.results):
            op.operation.erase()


def attributes_text(op: ir.Operation) -> dict[str, str]:
    """The attributes of an op as text, by name."""
    return {name: str(op.attributes[name]) for name in op.attributes}
