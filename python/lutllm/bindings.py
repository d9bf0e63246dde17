"""The one module that imports torch_mlir. Everything above takes its MLIR names from here.

Eager: `ir`, `passmanager`, `rewrite`, and the dialects `ext`, `func`, `ml_program`. Lazy, because they pull in torch
(`fx`, `fx_importer`, `fx_decomp_util`) or are slow (`torch_dialect`, `execution_engine`, `linalg`): write
`from lutllm.bindings import fx` where a model is imported.
"""

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch_mlir
from torch_mlir import ir, passmanager, rewrite
from torch_mlir.dialects import ext, func, ml_program

# The bindings look for a module of a dialect at every cast to one of its classes; where there is none, they search the
# disk again and again.
sys.modules.setdefault("torch_mlir.dialects.lut", ModuleType("torch_mlir.dialects.lut"))

_LAZY = {
    "fx": "torch_mlir.fx",
    "fx_importer": "torch_mlir.extras.fx_importer",
    "fx_decomp_util": "torch_mlir.extras.fx_decomp_util",
    "torch_dialect": "torch_mlir.dialects.torch",
    "execution_engine": "torch_mlir.execution_engine",
    "runtime": "torch_mlir.runtime",
    **{name: f"torch_mlir.dialects.{name}" for name in ("arith", "linalg", "tensor")},
}


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY:
        return importlib.import_module(_LAZY[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass(frozen=True)
class Diagnostic:
    """One MLIR diagnostic. `severity` is error, warning, remark or note; `line` and `column` are None when unknown."""

    severity: str
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None

    @property
    def location(self) -> str | None:
        return None if self.line is None else f"{self.file}:{self.line}:{self.column}"

    def __str__(self) -> str:
        text = f"{self.severity}: {self.message}"
        return text if self.location is None else f"{self.location}: {text}"


def _position(location: ir.Location) -> tuple[str | None, int | None, int | None]:
    """File, line and column of a location: those it has, or those of the first location it is made of that has any."""
    if isinstance(location, ir.FileLineColLoc):
        return location.filename, location.start_line, location.start_col
    parts: Sequence[ir.Location] = ()
    if isinstance(location, ir.FusedLoc):
        parts = location.locations
    elif isinstance(location, ir.NameLoc):
        parts = (location.child_loc,)
    elif isinstance(location, ir.CallSiteLoc):
        parts = (location.callee,)
    found = (_position(part) for part in parts)
    return next((position for position in found if position[0] is not None), (None, None, None))


def ops_below(root: ir.Operation | ir.OpView) -> list[ir.Operation]:
    """An operation and all within it, in order; collected first, so that the caller may change them."""
    found: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        found.append(op)
        return ir.WalkResult.ADVANCE

    root.operation.walk(visit, ir.WalkOrder.PRE_ORDER)
    return found


def source_position(location: ir.Location) -> str | None:
    """A location as `file:line:column`, or None where it names no file."""
    file, line, column = _position(location)
    return None if file is None else f"{file}:{line}:{column}"


def module_path(location: ir.Location) -> str | None:
    """The PyTorch module path an op's location names."""
    if isinstance(location, ir.NameLoc):
        return location.name_str
    parts = location.locations if isinstance(location, ir.FusedLoc) else ()
    return next((path for path in map(module_path, parts) if path), None)


def _message(diagnostic: ir.Diagnostic) -> str:
    """The text; damaged bytecode can put bytes into it that the bindings cannot make a string of."""
    try:
        return diagnostic.message
    except RuntimeError:
        return "a message that is not UTF-8"


@contextmanager
def capture_diagnostics(ctx: ir.Context) -> Iterator[list[Diagnostic]]:
    """Collect what `ctx` reports inside the `with` instead of printing it; notes follow their diagnostic."""
    seen: list[Diagnostic] = []

    def keep(diagnostic: ir.Diagnostic) -> bool:
        parts = (diagnostic, *diagnostic.notes)
        seen.extend(Diagnostic(d.severity.name.lower(), _message(d), *_position(d.location)) for d in parts)
        return True

    before = ctx.emit_error_diagnostics
    ctx.emit_error_diagnostics = True
    handler = ctx.attach_diagnostic_handler(keep)
    try:
        yield seen
    finally:
        handler.detach()
        ctx.emit_error_diagnostics = before


def load_torch_dialects(ctx: ir.Context) -> None:
    """Load `torch`, `torch_c` and `tm_tensor`. The last two have no loader of their own, a pass brings them."""
    importlib.import_module("torch_mlir.dialects.torch").register_dialect(ctx)
    passes = "torch-func-backend-type-conversion,func.func(convert-torch-to-tmtensor)"
    with ctx, ir.Location.unknown():
        empty = ir.Module.create().operation
        passmanager.PassManager.parse(f"builtin.module({passes})").run(empty)


def torch_mlir_opt() -> Path | None:
    """The wheel's own `torch-mlir-opt`, or None: next to the interpreter, or inside the package."""
    package = Path(next(iter(torch_mlir.__path__)))
    candidates = (Path(sys.executable).with_name("torch-mlir-opt"), package / "_mlir_libs" / "torch-mlir-opt")
    return next((path for path in candidates if path.is_file()), None)
