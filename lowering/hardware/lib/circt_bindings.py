"""The one module that imports CIRCT. Everything above takes its MLIR names of the hw level from here.

Two packages carry the same bindings: `pycde` (for Python 3.11 to 3.13) inside itself, and `circt`, which is current for
Python 3.13 and newer only. pycde's are taken where both are installed: two CIRCTs in one process crash.
"""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Sequence

from lutllm.errors import MissingDependencyError

# Every cast in these bindings retries importing this missing module; a stand-in makes building 7x faster.
for _package in ("pycde.circt", "circt"):
    sys.modules.setdefault(f"{_package}.dialects.builtin", types.ModuleType("builtin"))

try:
    import pycde.circt as circt
    from pycde.circt import ir
    from pycde.circt.dialects import comb, hw, seq
    from pycde.circt.passmanager import PassManager
except ModuleNotFoundError:
    try:
        import circt
        from circt import ir
        from circt.dialects import comb, hw, seq
        from circt.passmanager import PassManager
    except ModuleNotFoundError:
        raise MissingDependencyError(
            "expected the package pycde or circt, got none; run `pip install lutllm`"
        ) from None
if not hasattr(circt, "export_llvm_ir"):
    raise MissingDependencyError(
        "expected bindings of CIRCT with export_llvm_ir, got those of an older package circt; run `pip install lutllm`"
    )


def context() -> ir.Context:
    """A new context with all of CIRCT's dialects."""
    ctx = ir.Context()
    circt.register_dialects(ctx)
    return ctx


def run_passes(module: ir.Module, passes: Sequence[str]) -> None:
    """Run each `builtin.module(...)` pipeline body of `passes` in order."""
    with module.context:
        for text in passes:
            PassManager.parse(f"builtin.module({text})").run(module.operation)


def parse(text: str) -> ir.Module:
    """Parse hw-level text in a context of its own."""
    with context():
        return ir.Module.parse(text)


def port_names(instance: ir.OpView | ir.Operation, *, results: bool = False) -> list[str]:
    """The names of the inputs of an `hw.instance`, or of its results."""
    names = instance.attributes["resultNames" if results else "argNames"]
    return [ir.StringAttr(name).value for name in ir.ArrayAttr(names)]


def export_llvm_ir(module: ir.Module) -> str:
    buffer = io.StringIO()
    with module.context:
        circt.export_llvm_ir(module, buffer)
    return buffer.getvalue()


def export_split_verilog(module: ir.Module, directory: str) -> None:
    with module.context:
        circt.export_split_verilog(module, directory)
