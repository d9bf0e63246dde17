"""The float level as a graph: a module in, the ops of its function with their readers out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from lutllm import dialect
from lutllm.bindings import func, ir, source_position
from lutllm.errors import IRError
from lutllm.lowering.raising.float_function import FORWARD

OpT = TypeVar("OpT", bound=dialect.FloatOp)


class FloatGraph:
    """@forward of a module: `ops` in the order in which its `results` need them, first operands first.

    That order is the same for all ways to write the same function; ops that no result needs are left out.
    """

    def __init__(self, module: ir.Module | ir.Operation) -> None:
        self.module = module  # which owns all that follows
        self.function = _function(module.operation)
        block = self.function.entry_block
        self.arguments: list[ir.Value] = list(block.arguments)
        self.results: list[ir.Value] = list(list(block.operations)[-1].operands)
        self.ops: list[Any] = _post_order(self.results)
        self._readers: dict[ir.Value, list[Any]] = {}
        for op in self.ops:
            for operand in op.operation.operands:
                self._readers.setdefault(operand, []).append(op)

    def readers(self, value: ir.Value) -> Sequence[Any]:
        """The ops that read a value, in order."""
        return self._readers.get(value, ())

    def of(self, kind: type[OpT]) -> list[OpT]:
        """The ops of a class, in order."""
        return [op for op in self.ops if isinstance(op, kind)]

    @property
    def linears(self) -> list[str]:
        """The names of all linears."""
        return [name_of(op) for op in self.of(dialect.FloatLinearOp)]

    @property
    def shared_inputs(self) -> list[list[str]]:
        """The names of linears by what they read: one list for each value that linears read."""
        readers = ([op for op in ops if isinstance(op, dialect.FloatLinearOp)] for ops in self._readers.values())
        return [[name_of(op) for op in ops] for ops in readers if ops]

    def parameter_shape(self, symbol: str) -> list[int]:
        """The shape of a parameter, by its global."""
        table = ir.SymbolTable(self.function.operation.parent)
        return list(ir.RankedTensorType(table[symbol].attributes["type"].value).shape)


def name_of(op: Any) -> str:
    """What the constants and the parameters of a float op are found by."""
    return op.operation.attributes["name"].value


def maker(value: ir.Value) -> Any:
    """The op that makes a value; None for an argument."""
    owner = value.owner
    return None if isinstance(owner, ir.Block) else owner.operation.opview


def _function(root: ir.Operation) -> Any:
    functions = [op for op in root.regions[0].blocks[0] if isinstance(op, func.FuncOp)]
    found = next((op for op in functions if op.name.value == FORWARD), None)
    if found is None:
        names = ", ".join(f"@{op.name.value}" for op in functions) or "none"
        raise IRError(
            f"expected a function @{FORWARD} of the float level, got {names}; raise the model first",
            location=source_position(root.location),
        )
    return found


def _post_order(results: Sequence[ir.Value]) -> list[Any]:
    """Every op the results need, each after its operands."""
    found: list[Any] = []
    seen: set[ir.Value] = set()
    work: list[tuple[ir.Value, bool]] = [(value, False) for value in reversed(results)]
    while work:
        value, ready = work.pop()
        op = maker(value)
        if op is None or (value in seen and not ready):
            continue
        if ready:
            found.append(op)
            continue
        seen.add(value)
        work.append((value, True))
        work += [(operand, False) for operand in reversed(list(op.operation.operands))]
    return found
