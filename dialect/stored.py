"""Whether a safetensors file has what a module needs: names, shapes and element types, from the file's header alone."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from lutllm.bindings import ir
from lutllm.dialect.base import Invalid, expect, report
from lutllm.dialect.parameters import Parameter
from lutllm.dialect.symbols import lut_ops, op_parameters
from lutllm.errors import InputError

DTYPES = {"uint8": "U8", "int8": "I8", "int16": "I16", "int32": "I32"}
HEADER_LIMIT = 100_000_000  # bytes; what the safetensors library itself accepts
Header = Mapping[str, Mapping]


def verify_store(module: ir.Module, store: Path | Header) -> bool:
    """Whether every parameter of every lut op is in the store; emits a located error for each that is not."""
    header = store if isinstance(store, Mapping) else read_header(store)
    right = True
    for op in lut_ops(module):
        for p in op_parameters(op):
            try:
                _check_entry(p, header)
            except Invalid as problem:
                report(op, str(problem))
                right = False
    return right


def _check_entry(p: Parameter, header: Header) -> None:
    what = f"'{p.symbol}' in the store for '{p.attribute}'"
    wanted = f"{what} to be {DTYPES[p.dtype]} {list(p.shape)}"
    entry = header.get(p.symbol)
    if entry is None:
        raise Invalid(f"expected {wanted}, got none; write it, or name another store")
    got = f"{entry.get('dtype')} {list(entry.get('shape') or ())}"
    expect(got == f"{DTYPES[p.dtype]} {list(p.shape)}", wanted, got, "write the store again")


def read_header(path: Path) -> dict[str, dict]:
    """Entries of a safetensors file by name: {"dtype", "shape", "data_offsets"}; `InputError` for any other file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, HEADER_LIMIT):
                raise InputError(f"{path}: expected a safetensors file, got {size} bytes and no header; name another")
            header = json.loads(file.read(length))
    except OSError as problem:
        raise InputError(f"{path}: expected a safetensors file, got {problem.strerror}; name another") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: expected a safetensors header in JSON, got other text; name another") from None
    if not isinstance(header, dict):
        raise InputError(f"{path}: expected a safetensors header, got a JSON {type(header).__name__}; name another")
    header.pop("__metadata__", None)
    for name, entry in header.items():
        _check_header_entry(path, name, entry, size - 8 - length)
    return header


def _check_header_entry(path: Path, name: str, entry: object, data_bytes: int) -> None:
    sizes = {"U8": 1, "I8": 1, "I16": 2, "I32": 4}
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(end)]} if all(
            isinstance(n, int) and n >= 0 for n in shape
        ):
            fits = 0 <= start <= end <= data_bytes
            if dtype in sizes:
                fits = fits and end - start == sizes[dtype] * math.prod(shape)
            if not fits:
                raise InputError(f"{path}: expected the data of '{name}' in the file, got {start}..{end}; rewrite it")
        case _:
            raise InputError(f"{path}: expected dtype, shape and data_offsets of '{name}', got {entry}; write it again")
