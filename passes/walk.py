"""Find and erase lut ops below an operation."""

from typing import TypeVar

from lutllm import dialect
from lutllm.bindings import ext, ir

OpT = TypeVar("OpT", bound=dialect.LutOp)


def ops_in(root: ir.Operation, kind: type[OpT]) -> list[OpT]:
    """Every op of the class `kind` in `root`, in order; collected first, so that the caller may erase them."""
    found: list[OpT] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if isinstance(op.opview, kind):
            found.append(op.opview)
        return ir.WalkResult.ADVANCE

    root.walk(visit, ir.WalkOrder.PRE_ORDER)
    return found


def erase_dead(root: ir.Operation) -> None:
    """Erase the pure lut ops that nobody uses, last first, so that a dead chain goes as a whole."""
    for op in reversed(ops_in(root, dialect.LutOp)):
        if ext.Pure in op._traits and not any(_is_used(result) for result in op.operation.results):
            op.operation.erase()


def _is_used(value: ir.Value) -> bool:
    return next(iter(value.uses), None) is not None


def attributes_text(op: ir.Operation) -> dict[str, str]:
    """The attributes of an op as text, by name."""
    return {name: str(op.attributes[name]) for name in op.attributes}
