"""The parameter store: named integer arrays in, one safetensors file (and `quantization.json`) out, and back.

A file appears under its name only when it is whole: bytes go to a temporary file beside it, are flushed to the
disk, then renamed. The same arrays always give the same bytes. Reading maps the file; an array is read when asked
for. Tables are int8 when `table_bits` <= 8, else int32, as `lutllm.scheme.QuantizedLinear` says.
"""

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors

from lutllm import packing
from lutllm.errors import InputError, LutllmError
from lutllm.numerics import fits
from lutllm.scheme import MAX_PAIR_SHIFT, MULTIPLIER_BITS, QuantizedLinear, Scheme

PARAMETERS = "parameters.safetensors"
SIDECAR = "quantization.json"
TEMPORARY = ".partial"
_NOTE = "lutllm"  # of a header: a text
FORMAT = 1


def write_atomic(path: Path | str, data: bytes) -> None:
    """Write a whole file or none: after any failure `path` is what it was before, and no temporary file is left."""
    _write_parts(Path(path), [data])


def write_places(path: Path | str, size: int, parts: Iterable[tuple[int, np.ndarray]]) -> None:
    """`write_atomic` of `size` bytes that are zero where none of the parts, each with its first byte, says another."""
    with _replacing(Path(path)) as file:
        file.truncate(size)
        for first, part in parts:
            file.seek(first)
            file.write(np.ascontiguousarray(part).data)


def _write_parts(path: Path, parts: Iterable[bytes | memoryview]) -> str:
    """`write_atomic` of what comes in parts; returns the SHA-256."""
    digest = hashlib.sha256()
    with _replacing(path) as file:
        for part in parts:
            file.write(part)
            digest.update(part)
    return digest.hexdigest()


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` at the end."""
    temporary, size = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}"), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            try:
                yield file
            finally:
                size = file.tell()
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_directory(path.parent)
    except OSError as error:
        raise LutllmError(
            f"'{path}': expected to write {size or 'some'} bytes, got {error.strerror or error}; "
            f"nothing was changed: free some space or choose another directory, and run again"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _flush_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_partial(directory: Path | str) -> None:
    """Delete the temporary files a killed run left in `directory`."""
    for leftover in Path(directory).glob(f".*{TEMPORARY}"):
        leftover.unlink(missing_ok=True)


def sha256(path: Path | str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"'{path}': expected a readable file, got {error.strerror or error}") from error


def seal(path: Path) -> None:
    """Write the SHA-256 of an intermediate file beside it, once it is there."""
    write_atomic(_seal(path), sha256(path).encode())


def sealed(path: Path) -> bool:
    """Whether an intermediate file is there as it was sealed; what is left of another is deleted."""
    if path.is_file() and _seal(path).is_file() and _seal(path).read_bytes() == sha256(path).encode():
        return True
    for leftover in (path, _seal(path)):
        leftover.unlink(missing_ok=True)
    return False


def _seal(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def to_bytes(
    tensors: Mapping[str, np.ndarray], note: str | None = None, bits: Mapping[str, int] | None = None
) -> bytes:
    """The arrays in the safetensors format, the same bytes for the same arrays."""
    return b"".join(_parts(tensors, note, bits or {}))


def save(
    path: Path | str,
    tensors: Mapping[str, np.ndarray],
    note: str | None = None,
    bits: Mapping[str, int] | None = None,
) -> str:
    """Write the arrays as one safetensors file, atomically; return its SHA-256. `note` goes into the header. Arrays of
    uint8 with `bits` are packed at so many: `Store` unpacks them."""
    return _write_parts(Path(path), _parts(tensors, note, bits or {}))


def _parts(
    tensors: Mapping[str, np.ndarray], note: str | None, bits: Mapping[str, int]
) -> Iterator[bytes | memoryview]:
    """The safetensors format (huggingface/safetensors, README: format) without a second copy of the arrays in memory:
    the header's length as 8 bytes, a JSON header, the arrays; wide types come first, so that all are aligned."""
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    order = sorted(arrays, key=lambda name: (_ORDER.index(arrays[name].dtype.name), name))
    about = ({} if note is None else {_NOTE: note}) | packing.described({n: (bits[n], arrays[n].shape) for n in bits})
    header: dict[str, object] = {"__metadata__": about} if about else {}
    at = 0
    for name in order:
        array = arrays[name]
        shape = [-(-array.size * bits[name] // 8)] if name in bits else list(array.shape)
        end = at + (shape[0] if name in bits else array.nbytes)
        header[name] = {"dtype": _DTYPES[array.dtype.name], "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little")
    yield text
    for name in order:
        array = arrays[name]
        if name in bits:
            yield from (part.data for part in packing.pack(array.reshape(-1), bits[name]))
            continue
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        yield little.reshape(-1).view(np.uint8).data


_DTYPES = {  # in the order of the library's own files
    **{"uint64": "U64", "int64": "I64", "float64": "F64", "float32": "F32", "uint32": "U32", "int32": "I32"},
    **{"float16": "F16", "uint16": "U16", "int16": "I16", "int8": "I8", "uint8": "U8"},
}
_ORDER = list(_DTYPES)


class Store(Mapping[str, np.ndarray]):
    """A safetensors file, mapped: `store[name]` reads one array, unpacked. `note` is what `save` was given."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"'{path}': expected a safetensors file, got no such file")
        try:
            self._file: Any = safetensors.safe_open(str(path), framework="numpy")
            self._names = sorted(self._file.keys())
            about = self._file.metadata() or {}
            self.note: str | None = about.get(_NOTE)
            self._packed = packing.shapes(about)
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            raise InputError(
                f"'{path}': expected a whole safetensors file, got {error}; delete it and make it again"
            ) from error

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        array = self._file.get_tensor(name)
        if name not in self._packed:
            return array
        bits, shape = self._packed[name]
        return packing.unpack(array, bits, math.prod(shape)).reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def require(self, name: str) -> np.ndarray:
        """The array of a symbol, or an error that says which names there are."""
        if name not in self._names:
            near = [n for n in self._names if n.split(".")[-1] == name.split(".")[-1]][:4]
            raise InputError(f"'{self.path}': expected an array '{name}', got none; similar names: {near}")
        return self[name]


def load(path: Path | str) -> Store:
    """Open a safetensors file, or that of a directory; the header is checked now, arrays are read when asked for."""
    return Store(Path(path) / PARAMETERS if Path(path).is_dir() else path)


def mapped(path: Path | str, name: str) -> np.ndarray:
    """An array of a safetensors file that takes no memory of its own: the file is read where it is looked at."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(length))[name]
    dtype = next(dtype for dtype, written in _DTYPES.items() if written == entry["dtype"])
    return np.memmap(
        path, np.dtype(dtype).newbyteorder("<"), "r", 8 + length + entry["data_offsets"][0], tuple(entry["shape"])
    )


# --- quantized linears -----------------------------------------------------------------------------------------


def describe(linear: QuantizedLinear) -> dict:
    """What `quantization.json` says of one linear: everything that is not an array."""
    return {
        "input_name": linear.input_name,
        "scheme": linear.scheme.to_dict(),
        "shift": int(linear.shift),
        "out_exponent": int(linear.out_exponent),
        "has_bias": bool(linear.bias.any()),
        "shapes": {name: list(array.shape) for name, array in sorted(linear.tensors().items())},
        "metadata": dict(sorted(linear.metadata.items())),
    }


def linear_from(name: str, entry: dict, store: Store) -> QuantizedLinear:
    """One linear from its description and its arrays, checked; the inverse of `describe` and `tensors`."""
    try:
        scheme = Scheme.from_dict(entry["scheme"])
        source, shift, exponent = entry["input_name"], int(entry["shift"]), int(entry["out_exponent"])
        shapes, metadata = dict(entry["shapes"]), dict(entry["metadata"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"'{store.path}': description of '{name}': expected input_name, scheme, shift, out_exponent, shapes "
            f"and metadata, got a problem with {error}"
        ) from error
    optional = {f"{name}.tables", f"{source}.codebook"}
    arrays = {key: store.require(key) for key in shapes}
    linear = QuantizedLinear(
        name=name,
        input_name=source,
        scheme=scheme,
        exponents=store.require(f"{source}.exponents"),
        codebook=arrays.get(f"{source}.codebook"),
        **{part: store.require(f"{name}.{part}") for part in _OWN if f"{name}.{part}" not in optional},  # type: ignore[arg-type]
        shift=shift,
        out_exponent=exponent,
        tables=arrays.get(f"{name}.tables"),
        metadata=metadata,
    )
    for key, shape in shapes.items():
        if list(arrays[key].shape) != list(shape):
            raise InputError(f"'{store.path}': '{key}': expected shape {shape}, got {list(arrays[key].shape)}")
    return check_linear(linear)


_OWN = ("weight_codebook", "codes", "shifts", "multiplier", "bias")


def save_linears(directory: Path | str, linears: Mapping[str, QuantizedLinear], **extra: object) -> str:
    """Write `parameters.safetensors` and then `quantization.json`, which holds its hash; return the hash.

    Linears that name the same input must hold the same exponents and codebook. `extra` goes into the JSON.
    """
    return save_parameters(directory, linears, linears_tensors(linears), **extra)


def linears_tensors(linears: Mapping[str, QuantizedLinear]) -> dict[str, np.ndarray]:
    """All arrays of checked linears by symbol; inputs they share must be equal."""
    tensors: dict[str, np.ndarray] = {}
    for linear in linears.values():
        for name, array in check_linear(linear).tensors().items():
            if name in tensors and not np.array_equal(tensors[name], array):
                raise InputError(
                    f"'{name}': expected one value for all linears that read '{linear.input_name}', "
                    f"got another from '{linear.name}'; give inputs that differ different names"
                )
            tensors[name] = array
    return tensors


def save_parameters(
    directory: Path | str, linears: Mapping[str, QuantizedLinear], tensors: Mapping[str, np.ndarray], **extra: object
) -> str:
    """Write `tensors` as a store, and its sidecar with `linears` described and `extra`; the hash of the store."""
    directory = Path(directory)
    bits = {f"{name}.codes": linear.scheme.code_bits for name, linear in linears.items()}
    digest = save(directory / PARAMETERS, tensors, bits=bits)
    described = {name: describe(linear) for name, linear in linears.items()}
    write_json(directory / SIDECAR, {"format": FORMAT, "sha256": digest, **extra, "linears": described})
    return digest


def load_linears(directory: Path | str) -> dict[str, QuantizedLinear]:
    """What `save_linears` wrote, in the same order, after checking the hash and every array."""
    sidecar, store = load_parameters(directory)
    return {name: linear_from(name, entry, store) for name, entry in sidecar["linears"].items()}


def load_parameters(directory: Path | str) -> tuple[dict, Store]:
    """A sidecar and its store, the hash checked."""
    directory = Path(directory)
    sidecar = read_json(directory / SIDECAR)
    if sidecar.get("format") != FORMAT or not isinstance(sidecar.get("linears"), dict):
        raise InputError(f"'{directory / SIDECAR}': expected format {FORMAT}, got {sidecar.get('format')!r}")
    digest = sha256(directory / PARAMETERS)
    if digest != sidecar.get("sha256"):
        raise InputError(
            f"'{directory / PARAMETERS}': expected SHA-256 {sidecar.get('sha256')}, got {digest}; "
            f"the file was changed or is not of the same run as {SIDECAR}: quantize again"
        )
    return sidecar, load(directory / PARAMETERS)


def save_linear(path: Path | str, linear: QuantizedLinear) -> str:
    """Write one linear as one file that describes itself."""
    note = json.dumps({"name": linear.name, **describe(linear)}, sort_keys=True)
    return save(path, check_linear(linear).tensors(), note)


def load_linear(path: Path | str) -> QuantizedLinear:
    """What `save_linear` wrote."""
    store = load(path)
    try:
        entry = json.loads(store.note or "")
        name = entry["name"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"'{path}': expected the description of a linear in the header, got {store.note!r}") from error
    return linear_from(name, entry, store)


def write_json(path: Path | str, value: object) -> None:
    """Write JSON atomically, the same bytes for the same value."""
    write_atomic(path, json_bytes(value))


def json_bytes(value: object) -> bytes:
    """JSON that is no number beyond its own, the same bytes for the same value."""
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def read_json(path: Path | str) -> dict:
    """A JSON object from a file, or an error that names the file and the place."""
    try:
        value = json.loads(Path(path).read_text())
    except OSError as error:
        raise InputError(f"'{path}': expected a readable file, got {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"'{path}': expected JSON, got {error}; delete it and make it again") from error
    if not isinstance(value, dict):
        raise InputError(f"'{path}': expected a JSON object, got {type(value).__name__}")
    return value


def what_is(directory: Path) -> str:
    """What a directory holds and what to do with it, for the error of a verb that wants another."""
    if not directory.is_dir():
        return "no such directory"
    if (directory / "ir" / "model.scheduled.mlir").is_file():
        return f"a compiled model: `lutllm diff` compares its levels, {directory / 'model'} is the model in integers"
    if any((directory / "mem").glob("*.expected.safetensors")):
        return "compiled linears: `lutllm simulate` runs them"
    if not (directory / "config.json").is_file():
        return "neither a model nor an output of lutllm"
    quantized = "quantization_config" in read_json(directory / "config.json")
    return "a quantized model: `lutllm compile` takes it" if quantized else "a float model: `lutllm quantize` takes it"


def check_linear(linear: QuantizedLinear) -> QuantizedLinear:
    """Check types, shapes and value ranges of every array against the scheme; return the linear.

    `lutllm.quantizer.validate` proves in addition that no row and no sum can leave its width.
    """
    if linear.codes.ndim != 3 or 0 in linear.codes.shape:
        raise InputError(f"'{linear.name}.codes': expected shape [pairs, R, outputs], got {list(linear.codes.shape)}")
    s, pairs, outputs = linear.scheme, linear.pairs, linear.outputs
    blocks = s.blocks(outputs)
    shapes: dict[str, tuple[type, tuple[int, ...]]] = {
        "exponents": (np.int8, (pairs,)),
        "weight_codebook": (np.int8, (pairs, blocks, s.R, s.c_w, 2)),
        "codes": (np.uint8, (pairs, s.R, outputs)),
        "shifts": (np.int8, (pairs, 2)),
        "multiplier": (np.int32, (outputs,)),
        "bias": (np.int32, (outputs,)),
    }
    if s.kind == "vq":
        shapes["codebook"] = (np.int16, (pairs, s.S, s.c_a, 2))
    elif linear.codebook is not None:
        raise InputError(f"'{linear.name}': expected no activation codebook for exact rows, got one")
    if linear.tables is not None:
        entry = np.int8 if s.table_bits <= 8 else np.int32
        shapes["tables"] = (entry, (pairs, blocks, s.R, s.S, s.c_a, s.c_w))
    for part, (dtype, shape) in shapes.items():
        array = getattr(linear, part)
        got = "none" if array is None else f"{array.dtype} {list(array.shape)}"
        if array is None or array.dtype != dtype or array.shape != shape:
            raise InputError(f"'{linear.name}' {part}: expected {np.dtype(dtype)} {list(shape)}, got {got}")
    _check_values(linear)
    return linear


def _check_values(linear: QuantizedLinear) -> None:
    s = linear.scheme
    checks = [
        ("codes", int(linear.codes.max()) < s.c_w, f"values below c_w = {s.c_w}"),
        ("weight_codebook", fits(linear.weight_codebook, s.weight_bits), f"{s.weight_bits}-bit values"),
        (
            "shifts",
            int(linear.shifts.min()) >= 0 and int(linear.shifts.max()) <= MAX_PAIR_SHIFT,
            f"values in 0..{MAX_PAIR_SHIFT}",
        ),
        ("multiplier", int(linear.multiplier.min()) > 0, "values > 0"),
        ("multiplier", fits(linear.multiplier, MULTIPLIER_BITS), f"{MULTIPLIER_BITS}-bit values"),
    ]
    if linear.codebook is not None:
        checks.append(("codebook", fits(linear.codebook, s.act_bits), f"{s.act_bits}-bit values"))
    if linear.tables is not None:
        checks.append(("tables", fits(linear.tables, s.table_bits), f"{s.table_bits}-bit values"))
    for part, good, wanted in checks:
        if not good:
            array = getattr(linear, part)
            raise InputError(f"'{linear.name}' {part}: expected {wanted}, got {int(array.min())}..{int(array.max())}")
