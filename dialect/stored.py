"""Whether a safetensors file has what a module needs: names, shapes and element types, from the file's header.

Of the data only the exponents of attention's queries and keys are read.
"""

from pathlib import Path
from typing import Any

import safetensors

from lutllm import packing
from lutllm.bindings import ir
from lutllm.dialect.attributes import exponents_of
from lutllm.dialect.base import report
from lutllm.dialect.decoders.attention import AttentionOp, score_problem
from lutllm.dialect.linears.parameters import FLOAT, FLOAT_TYPES, Parameter, matches
from lutllm.dialect.symbols import lut_ops, op_parameters
from lutllm.errors import InputError

DTYPES = {"uint8": "U8", "int8": "I8", "int16": "I16", "int32": "I32", FLOAT: FLOAT_TYPES.upper()}
Header = dict[str, str]  # name -> "DTYPE [shape]"


def verify_store(module: ir.Module, store: Path | str) -> bool:
    """Whether every parameter of every lut op is in the store; emits a located error for each that is not."""
    header = read_header(store)
    problems = 0
    with safetensors.safe_open(str(store), framework="numpy") as file:
        for op in lut_ops(module):
            needed = {p.symbol: p for p in op_parameters(op)}.values()
            wrong = [problem for p in needed if (problem := _entry_problem(p, header))]
            if not wrong and isinstance(op, AttentionOp):
                query, keys = (file.get_tensor(exponents_of(v)) for v in (op.query, op.keys))
                problem = score_problem(query, keys, int(op.heads.value), int(op.kv_heads.value))
                wrong = [problem] if problem else []
            for problem in wrong:
                report(op, problem)
            problems += len(wrong)
    return problems == 0


def _entry_problem(p: Parameter, header: Header) -> str | None:
    wanted = f"{DTYPES[p.dtype]} [{', '.join(p.sizes())}]"
    got = header.get(p.symbol, "none")
    if matches(wanted, got):
        return None
    return f"expected '{p.symbol}' in the store for '{p.attribute}' to be {wanted}, got {got}; write the store again"


def read_header(path: Path | str) -> Header:
    """What a safetensors file holds, without reading the data; `InputError` for any other file."""
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            header = {name: _entry(file.get_slice(name)) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            packed = packing.shapes(file.metadata() or {})
            return header | {name: f"U8 {list(shape)}" for name, (_, shape) in packed.items()}
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(f"'{path}': expected a whole safetensors file, got {error}; write it again") from error


def _entry(array: Any) -> str:
    return f"{array.get_dtype()} {list(array.get_shape())}"
