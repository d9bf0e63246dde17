"""`torch-raise`: torch-level IR of any model of known parts in, the same model in structural ops on floats out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lutllm.bindings import ir, source_position
from lutllm.errors import IRError
from lutllm.lowering.raising.float_function import write_function
from lutllm.lowering.raising.patterns import read_function
from lutllm.lowering.raising.reader import DOWNSTREAM, Reader, Unmatched
from lutllm.passes import Pass

_SHOWN = 3  # ops an error spells out


@dataclass(frozen=True)
class TorchRaise(Pass):
    """Replace a model in the torch dialect by the structural ops on floats that it computes.

    The module's one function becomes `@forward`, op by op, whatever its graph is. If one op cannot be raised, nothing
    is: the error says how many there are and where the first stand.
    """

    name: ClassVar[str] = "torch-raise"
    anchor: ClassVar[str | None] = "builtin.module"

    def run(self, op: ir.Operation) -> None:
        module: Any = op.opview
        function, reader = read_model(module)
        if reader.unmatched:
            raise _error(reader.unmatched)
        with function.operation.location:
            write_function(module, reader)
        function.operation.erase()


def read_model(module: ir.Module) -> tuple[Any, Reader]:
    """The one function of a module, and what its values are."""
    functions = [op for op in module.operation.regions[0].blocks[0] if op.operation.name == "func.func"]
    if len(functions) != 1 or not functions[0].regions[0].blocks:
        names = ", ".join(f"@{op.name.value}" for op in functions) or "none"
        where = source_position((functions[1] if len(functions) > 1 else module).operation.location)
        raise IRError(f"expected one function with the model, got {names}; import the whole model", location=where)
    return functions[0], read_function(functions[0])


def _error(unmatched: Sequence[Unmatched]) -> IRError:
    """The first ops that cannot be raised, of those that do not follow from others."""
    roots = [u for u in unmatched if u.expected != DOWNSTREAM] or list(unmatched)
    shown = "; ".join(_one_line(u, located=i > 0) for i, u in enumerate(roots[:_SHOWN]))
    ops = "1 op cannot be" if len(unmatched) == 1 else f"{len(unmatched)} ops cannot be"
    more = f"; and {len(unmatched) - _SHOWN} more" if len(unmatched) > _SHOWN else ""
    return IRError(f"{ops} raised: {shown}{more}; `lutllm check` lists them all", location=roots[0].location)


def _one_line(found: Unmatched, located: bool) -> str:
    place = f" in '{found.module}'" if found.module else ""
    line = f" ({found.location})" if located and found.location else ""
    return f"'{found.op}' op{place}{line}: {found.expected}"
