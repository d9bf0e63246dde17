"""MLIR text in, machine code out, by the ExecutionEngine of the MLIR wheel; and the same from an object file."""

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding as llvm

from lutllm.errors import IRError

PIPELINE = (
    "builtin.module(convert-scf-to-cf,convert-vector-to-llvm,convert-arith-to-llvm,convert-index-to-llvm,"
    "convert-cf-to-llvm,convert-func-to-llvm,reconcile-unrealized-casts)"
)


class MachineCode(ABC):
    """Functions that can be called; it lives as long as they are."""

    @abstractmethod
    def address(self, name: str) -> int:
        """Of a function as the ExecutionEngine packs it: its argument is an array of the addresses of its values."""

    def entry(self, name: str) -> Callable[..., None]:
        """A function of 64-bit integers or addresses; Python's lock is released while it runs."""
        function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.address(name))

        def call(*values: int) -> None:
            slots = (ctypes.c_int64 * len(values))(*values)
            base = ctypes.addressof(slots)
            function((ctypes.c_void_p * len(values))(*(base + 8 * i for i in range(len(values)))))

        return call


class Jit(MachineCode):
    """A compiled module. LLVM compiles for the processor it runs on."""

    def __init__(self, text: str) -> None:
        from lutllm.bindings import capture_diagnostics, execution_engine, ir, passmanager

        context = ir.Context()
        with context, ir.Location.unknown(), capture_diagnostics(context) as seen:
            try:
                module = ir.Module.parse(text)
                passmanager.PassManager.parse(PIPELINE).run(module.operation)
            except (ir.MLIRError, RuntimeError) as error:
                raise IRError(f"expected CPU code that lowers to LLVM, got {seen or error}; report this") from error
            self._engine = execution_engine.ExecutionEngine(module, opt_level=3)

    def address(self, name: str) -> int:
        return _found(name, self._engine.raw_lookup(name))

    def save(self, path: Path) -> None:
        """The object file."""
        self._engine.dump_to_object_file(str(path))


class Loaded(MachineCode):
    """What `Jit.save` wrote, on a processor of the same kind."""

    def __init__(self, path: Path) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_path(str(path)))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        return _found(name, self._engine.get_function_address(f"_mlir_{name}"))


def processor() -> str:
    """What the code of LLVM depends on."""
    return f"{llvm.get_process_triple()} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


def _found(name: str, address: int) -> int:
    if not address:
        raise IRError(f"expected a compiled function @{name}, got none; report this")
    return address
