"""A quantized model as a directory like Hugging Face's: `save_pretrained` writes it, `from_pretrained` reads it.

config.json                  the model's configuration, with `quantization_config` (quant_method: lutllm); written last
generation_config.json       where the model has one
tokenizer.json, ...          the tokenizer's files, chat template included
model.torch.mlir             what PyTorch gave, where the model comes from there; nothing reads it but compilers
model.float.mlir             what the model computes, in the float level: `lut-quantize` makes integers of it
parameters.safetensors       all integers
quantization.json            what is no array, by op; holds the hashes of all others, and config.json holds its own

Every file is written whole or not at all. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lutllm import store
from lutllm.errors import InputError
from lutllm.models.hf import GENERATION, QUANTIZATION, QUANTIZATION_METHOD
from lutllm.models.kept_tokenizer import open_tokenizer
from lutllm.models.tokenizer import load_tokenizer
from lutllm.quantization import Constants, Quantization, constants_of, read_ops, sections
from lutllm.quantized import CONTEXT
from lutllm.quantizer.resume import RUN
from lutllm.scheme import MULTIPLIER_BITS, QuantizedLinear

if TYPE_CHECKING:
    from lutllm.bindings import ir

CONFIG, TOKENIZER_CONFIG = "config.json", "tokenizer_config.json"
_HOW_IT_WAS_READ = ("is_local", "local_files_only")  # transformers notes this of a tokenizer from a directory
FLOAT, TORCH = "model.float.mlir", "model.torch.mlir"
HASHES = "files"  # in quantization.json: SHA-256 of every file but itself, the store and config.json
VERSION = 2


@dataclass
class QuantizedModel:
    """A quantized model in memory: `module` says what it computes, in the float level; `constants` and `linears` how,
    by the names of its ops; `arrays` are those of all other ops, by symbol.

    `tokenizer` or None, and the configurations as in their files. `about` says where it comes from: `model` (name,
    source, fingerprint), `calibration`. `directory` is where it was read from.
    """

    module: ir.Module
    constants: dict[str, Constants]
    linears: dict[str, QuantizedLinear]
    arrays: dict[str, np.ndarray]
    tokenizer: Any | None = None
    config: dict[str, Any] = field(default_factory=dict)
    generation: dict[str, Any] | None = None
    about: dict[str, Any] = field(default_factory=dict)
    directory: Path | None = None
    torch: str = ""  # text of the torch level it comes from, where it comes from PyTorch
    sha256: str | None = None  # of the store it was read from
    kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)  # by what made it

    @property
    def unread(self) -> str:
        """What tells apart the programs of models of which nothing was read yet; empty of those in memory."""
        return ""

    def lut(self, context: int = 0) -> ir.Module:
        """Its integer program, with caches of `context` tokens (0: as many as RoPE has positions)."""
        from lutllm.lowering.quantize.lut_quantize import lut_module

        return lut_module(self.module, self.quantization, context)

    def room(self, context: int | None = None) -> int:
        """Tokens of a sequence: `context`, or `CONTEXT` where it has so many positions."""
        return context or min(CONTEXT, self.positions)

    @property
    def quantization(self) -> Quantization:
        return Quantization(self.constants, constants_of(self.linears), self.sha256)

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """Everything in the store, by symbol."""
        found = dict(self.arrays)
        for linear in self.linears.values():
            found |= linear.tensors()
        return found

    @property
    def positions(self) -> int:
        """How many tokens its RoPE tables reach; 0 without any."""
        return Quantization(self.constants).positions or 0

    @property
    def chat_template(self) -> str | None:
        return None if self.tokenizer is None else getattr(self.tokenizer, "chat_template", None)

    @property
    def bits(self) -> dict[str, float]:
        """Bits per weight: `code` and `effective` over all linears, the head's too, codes alone and with everything the
        linears need; `embedding` over the embedding's."""
        weights = code = effective = 0.0
        for linear in self.linears.values():
            size = 2 * linear.pairs * linear.outputs
            bits = linear.bits_per_weight()
            weights, code, effective = weights + size, code + size * bits[0], effective + size * bits[1]
        rows = [array for name, array in self.arrays.items() if name.endswith(".rows")]
        embedding = sum(8 * array.size + MULTIPLIER_BITS * len(array) for array in rows)
        return {
            "code": round(code / weights, 4),
            "effective": round(effective / weights, 4),
            "embedding": round(embedding / max(1, sum(array.size for array in rows)), 4),
        }


def save_pretrained(model: QuantizedModel, directory: Path | str) -> Path:
    """Write `model`; the same model gives the same bytes. `config.json` comes last: with it the directory is whole."""
    from lutllm.quantized.model_check import check_model

    directory = Path(directory)
    check_model(model.lut(model.positions or 1), model.arrays, model.linears)
    files = {FLOAT: (model.module.operation.get_asm(enable_debug_info=True) + "\n").encode()}
    files |= {TORCH: model.torch.encode()} if model.torch else {}
    files |= {GENERATION: store.json_bytes(model.generation)} if model.generation is not None else {}
    files |= _tokenizer_files(model.tokenizer)
    (directory / CONFIG).unlink(missing_ok=True)
    for name, content in files.items():
        store.write_atomic(directory / name, content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    known = {HASHES: hashes, "about": model.about, **sections(model.constants)}
    store.save_parameters(directory, model.linears, model.tensors, **known)
    schemes = Counter(linear.scheme for linear in model.linears.values())
    quantization = {
        "quant_method": QUANTIZATION_METHOD,
        "version": VERSION,
        "schemes": [{"linears": count, **scheme.to_dict()} for scheme, count in schemes.items()],
        "bits": model.bits,
        **model.about,
        "sha256": store.sha256(directory / store.SIDECAR),
    }
    config = {key: value for key, value in model.config.items() if key != QUANTIZATION}
    store.write_json(directory / CONFIG, {**config, QUANTIZATION: quantization})
    return directory


def _tokenizer_files(tokenizer: Any | None) -> dict[str, bytes]:
    if tokenizer is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.is_file()}
    values = json.loads(files[TOKENIZER_CONFIG])
    kept = {key: value for key, value in values.items() if key not in _HOW_IT_WAS_READ}
    return {**files, TOKENIZER_CONFIG: (json.dumps(kept, indent=2, ensure_ascii=False) + "\n").encode()}


def from_pretrained(directory: Path | str) -> QuantizedModel:
    """Read what `save_pretrained` wrote. Raises `InputError` for a directory that is missing, not whole, changed, of
    another version or of a float model."""
    found = open_pretrained(directory, load_tokenizer)
    _ = found.module
    return found


_LARGE = {"module", "linears", "arrays"}


class _OnDisk(QuantizedModel):
    """A model whose program and arrays are read, and checked, when they are first asked for."""

    _digest: str  # of quantization.json
    _bits: dict[str, float] | None  # as config.json says

    @classmethod
    def of(cls, **known: Any) -> _OnDisk:
        """A model of which this is known."""
        found = cls.__new__(cls)
        vars(found).update(known, kept={})
        return found

    def __getattr__(self, name: str) -> Any:
        if name not in _LARGE:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        vars(self).update(_load(vars(self)["directory"], self._digest, self.constants))
        return vars(self)[name]

    @property
    def unread(self) -> str:
        return "" if vars(self).keys() >= _LARGE else self._digest

    @property
    def bits(self) -> dict[str, float]:
        return self._bits if self.unread and self._bits else super().bits


def open_pretrained(
    directory: Path | str, tokenizer: Callable[[Path, int | None], Any] = open_tokenizer
) -> QuantizedModel:
    """As `from_pretrained`, but what is large is read, and checked, when it is first asked for - hashes say that it is
    what `save_pretrained` checked -, and so is a tokenizer of transformers'."""
    directory = Path(directory).expanduser()
    quantization, config = _configuration(directory)
    digest = str(quantization.get("sha256"))
    sidecar, _ = _verified(directory, digest)
    generation = directory / GENERATION
    return _OnDisk.of(
        _digest=digest,
        _bits=quantization.get("bits"),
        constants=read_ops(sidecar, directory / store.SIDECAR),
        tokenizer=tokenizer(directory, config.get("vocab_size")),
        config=config,
        generation=store.read_json(generation) if generation.is_file() else None,
        about={key: quantization[key] for key in ("model", "calibration") if key in quantization},
        directory=directory,
        torch=(directory / TORCH).read_text() if (directory / TORCH).is_file() else "",
        sha256=sidecar["sha256"],
    )


def _verified(directory: Path, wanted: str) -> tuple[dict[str, Any], store.Store]:
    """`quantization.json` of that hash, and the store, all hashes checked."""
    path = directory / store.SIDECAR
    if (digest := store.sha256(path)) != wanted:
        raise InputError(
            f"'{path}': expected SHA-256 {wanted}, as {CONFIG} says, got {digest}; "
            "the file was changed or is of another run: quantize again"
        )
    sidecar, arrays = store.load_parameters(directory)
    for name, wanted in sidecar.get(HASHES, {FLOAT: sidecar.get("float_sha256")}).items():  # older: of that alone
        if (digest := store.sha256(directory / name)) != wanted:
            raise InputError(
                f"'{directory / name}': expected SHA-256 {wanted}, got {digest}; "
                f"the file was changed or is not of the same run as {store.SIDECAR}: quantize again"
            )
    return sidecar, arrays


def _load(directory: Path, digest: str, constants: dict[str, Constants]) -> dict[str, Any]:
    """What the float level and the store say, checked."""
    from lutllm.lowering.quantize.lut_quantize import lut_module
    from lutllm.quantized.model_check import check_model

    sidecar, arrays = _verified(directory, digest)
    module = _parsed(directory / FLOAT)
    linears = {name: store.linear_from(name, entry, arrays) for name, entry in sidecar["linears"].items()}
    of_linears = {symbol for linear in linears.values() for symbol in linear.tensors()}
    others = {symbol: arrays[symbol] for symbol in arrays if symbol not in of_linears}
    known = Quantization(constants, constants_of(linears), sidecar["sha256"])
    check_model(lut_module(module, known, known.positions or 1), others, linears)
    return {"module": module, "linears": linears, "arrays": others}


def _parsed(path: Path) -> ir.Module:
    from lutllm import dialect
    from lutllm.bindings import ir

    with dialect.context() as context, ir.Location.unknown():
        try:
            return ir.Module.parseFile(str(path), context)
        except ir.MLIRError as error:
            raise InputError(f"'{path}': expected IR of the float level, got {error}; quantize again") from None


def _configuration(directory: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(quantization_config, config) of a directory that `save_pretrained` finished."""
    if not directory.is_dir():
        raise InputError(
            f"'{directory}': expected a directory made by lutllm quantize, got none; "
            f"run `lutllm quantize MODEL -o {directory}`"
        )
    path = directory / CONFIG
    if not path.is_file():
        state = "one that is not finished: run the same lutllm quantize again, it goes on where it was"
        got = state if (directory / RUN).exists() else f"{store.what_is(directory)}; give another"
        raise InputError(f"'{directory}': expected a directory made by lutllm quantize, got {got}")
    config = store.read_json(path)
    quantization = config.pop(QUANTIZATION, None)
    if not isinstance(quantization, dict) or quantization.get("quant_method") != QUANTIZATION_METHOD:
        method = quantization.get("quant_method") if isinstance(quantization, dict) else None
        raise InputError(
            f"'{path}': expected {QUANTIZATION} of quant_method '{QUANTIZATION_METHOD}', got "
            f"{repr(method) if method else 'a float model'}; run `lutllm quantize {directory} -o DIR` and give DIR"
        )
    if quantization.get("version") != VERSION:
        raise InputError(
            f"'{path}': expected version {VERSION} of the directory, got {quantization.get('version')!r}; "
            "quantize again with this lutllm, or use the one that wrote it"
        )
    return quantization, config
