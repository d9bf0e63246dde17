"""MLIR contexts with the `lut` dialect in them, its text form, and the whole-module check."""

import threading
from pathlib import Path

from lutllm.bindings import ir, passmanager
from lutllm.dialect.base import Lut
from lutllm.dialect.stored import verify_store
from lutllm.dialect.symbols import verify_symbols

_LOADING = threading.Lock()  # ext keeps the module it loads from, and registers classes, for the whole process


def context() -> ir.Context:
    """A new context: `lut` loaded, errors emitted as diagnostics, one thread. Threads may make theirs at once.

    Never enable multithreading on it: a Python verifier then waits for the interpreter lock the parser holds, for ever.
    """
    ctx = ir.Context()
    ctx.emit_error_diagnostics = True
    register_dialects(ctx)
    return ctx


def register_dialects(ctx: ir.Context) -> None:
    """Load `lut` into any torch_mlir context, once, and switch its multithreading off. Any number may have it."""
    ctx.enable_multithreading(False)
    with _LOADING, ctx, ir.Location.unknown():
        if not ctx.is_dialect_loaded(Lut.DIALECT_NAMESPACE):
            Lut.load()


def irdl_text() -> str:
    """The dialect as IRDL, for `torch-mlir-opt --irdl-file` and `mlir-opt --irdl-file`.

    It carries names, counts and kinds of operands, results and attributes; not the verifiers, nor that ops are pure.
    """
    with _LOADING, ir.Context(), ir.Location.unknown():
        module = Lut._emit_module()
        passmanager.PassManager.parse("builtin.module(canonicalize)").run(module.operation)
        return str(module)


def verify(module: ir.Module, store: Path | str | None = None) -> bool:
    """Whether the ops, and the symbols they use, are right; each problem is emitted at its op.

    With `store` (a safetensors file), also that every symbol's data is there with the right shape and type.
    """
    try:
        if not module.operation.verify():
            return False
    except ir.MLIRError:
        return False
    return verify_symbols(module) and (store is None or verify_store(module, store))
