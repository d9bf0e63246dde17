"""MLIR text in, a callable machine-code entry out, by the ExecutionEngine of the MLIR wheel."""

import ctypes
from collections.abc import Callable

from lutllm.bindings import capture_diagnostics, execution_engine, ir, passmanager
from lutllm.errors import IRError

PIPELINE = (
    "builtin.module(convert-scf-to-cf,convert-vector-to-llvm,convert-arith-to-llvm,convert-index-to-llvm,"
    "convert-cf-to-llvm,convert-func-to-llvm,reconcile-unrealized-casts)"
)


class Jit:
    """A compiled module; it lives as long as its entries are used. LLVM compiles for the processor it runs on."""

    def __init__(self, text: str) -> None:
        context = ir.Context()
        with context, ir.Location.unknown(), capture_diagnostics(context) as seen:
            try:
                module = ir.Module.parse(text)
                passmanager.PassManager.parse(PIPELINE).run(module.operation)
            except (ir.MLIRError, RuntimeError) as error:
                raise IRError(f"expected CPU code that lowers to LLVM, got {seen or error}; report this") from error
            self._engine = execution_engine.ExecutionEngine(module, opt_level=3)

    def entry(self, name: str) -> Callable[..., None]:
        """A function of 64-bit integers or addresses; Python's lock is released while it runs."""
        function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.address(name))

        def call(*values: int) -> None:
            slots = (ctypes.c_int64 * len(values))(*values)
            base = ctypes.addressof(slots)
            function((ctypes.c_void_p * len(values))(*(base + 8 * i for i in range(len(values)))))

        return call

    def address(self, name: str) -> int:
        """Of the function as the engine packs it: its one argument is an array of the addresses of its values."""
        address = self._engine.raw_lookup(name)
        if not address:
            raise IRError(f"expected a compiled function @{name}, got none; report this")
        return address
