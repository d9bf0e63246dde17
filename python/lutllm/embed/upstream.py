"""linalg to machine code by MLIR's own passes alone: module in, a function of numpy arrays out.

What any MLIR compiler does with the output of `lut-to-linalg`, in loops as they stand: an oracle of integers that
shares nothing with lutllm's own CPU path, and not a fast one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from lutllm.bindings import capture_diagnostics, execution_engine, ir, linalg, ops_below, passmanager, runtime
from lutllm.errors import InputError, IRError

_TO_MEMORY = (
    "symbol-dce",
    "linalg-fuse-elementwise-ops",
    "one-shot-bufferize{bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map}",
    "buffer-deallocation-pipeline",  # what is returned is the caller's
    "convert-bufferization-to-memref",
)
_TO_LLVM = (
    "func.func(convert-linalg-to-loops)",
    "expand-strided-metadata",
    "lower-affine",
    "convert-scf-to-cf",
    "func.func(llvm-request-c-wrappers)",
    "convert-math-to-llvm",
    "convert-math-to-libm",
    "convert-to-llvm",
    "reconcile-unrealized-casts",
)
Call = Callable[..., list[np.ndarray]]


def compile_linalg(module: ir.Module, function: str = "main") -> Call:
    """@function of tensors as a function of arrays that returns its results; `module` is lowered in place.

    It may have linalg, tensor, arith, math, scf and cf ops, and no parameter outside it. `IRError` where MLIR stops.
    """
    symbols = ir.SymbolTable(module.operation)
    if function not in symbols:
        raise InputError(f"expected a function @{function}, got none; name one of the module")
    signature = ir.FunctionType(symbols[function].attributes["function_type"].value)
    arguments, results = ([ir.RankedTensorType(t) for t in types] for types in (signature.inputs, signature.results))
    wanted = [(_dtype(type_), [None if n < 0 else n for n in type_.shape]) for type_ in arguments]
    given = [_descriptor(type_.rank, _dtype(type_)) for type_ in results]
    with capture_diagnostics(module.context) as seen, module.context, ir.Location.unknown():
        try:
            _run(module, _TO_MEMORY)
            for copy in [op for op in ops_below(module.operation) if op.name == "memref.copy"]:
                with ir.InsertionPoint(copy):  # it would call a library that the wheel does not have
                    linalg.copy(copy.operands[0], outs=[copy.operands[1]])
                copy.erase()
            _run(module, _TO_LLVM)
            engine = execution_engine.ExecutionEngine(module, opt_level=2)
        except ir.MLIRError:
            first = next(d for d in seen if d.severity == "error")
            raise IRError(first.message, location=first.location) from None
    return _function(engine, function, wanted, given)


def _run(module: ir.Module, passes: tuple[str, ...]) -> None:
    passmanager.PassManager.parse(f"builtin.module({','.join(passes)})").run(module.operation)


def _dtype(type_: ir.RankedTensorType) -> np.dtype:
    return np.dtype({"f32": "float32", "i1": "bool"}.get(str(type_.element_type), f"int{type_.element_type.width}"))


def _descriptor(rank: int, dtype: np.dtype) -> type[ctypes.Structure]:
    element = np.ctypeslib.as_ctypes_type(dtype)
    return runtime.make_nd_memref_descriptor(rank, element) if rank else runtime.make_zero_d_memref_descriptor(element)


def _function(engine: Any, name: str, wanted: list[tuple[np.dtype, list[int | None]]], given: list[type]) -> Call:
    class Results(ctypes.Structure):
        _fields_ = [(f"r{i}", descriptor) for i, descriptor in enumerate(given)]

    free = ctypes.CDLL(None).free
    free.argtypes = [ctypes.c_void_p]

    def call(*arrays: np.ndarray) -> list[np.ndarray]:
        if len(arrays) != len(wanted):
            raise InputError(f"expected {len(wanted)} arrays, got {len(arrays)}; give one for each argument")
        for i, (array, (dtype, sizes)) in enumerate(zip(arrays, wanted, strict=True)):
            fits = array.ndim == len(sizes) and all(s in (None, n) for s, n in zip(sizes, array.shape, strict=True))
            if array.dtype != dtype or not fits:
                raise InputError(f"argument {i}: expected {dtype} {sizes}, got {array.dtype} {list(array.shape)}")
        results = Results()
        inputs = [runtime.get_ranked_memref_descriptor(np.ascontiguousarray(array)) for array in arrays]
        engine.invoke(name, *(ctypes.pointer(ctypes.pointer(each)) for each in (results, *inputs)))
        made = [getattr(results, f"r{i}") for i in range(len(given))]
        found = [runtime.ranked_memref_to_numpy(ctypes.pointer(each)).copy() for each in made]
        for address in {each.allocated for each in made}:  # a value may be returned twice
            free(address)
        return found

    return call
