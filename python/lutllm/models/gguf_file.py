"""GGUF to a checkpoint directory: the file is checked, de-quantized to float32 once and kept in the cache by content.

The weights of a 4-bit GGUF are what its integers say; that de-quantized model is the float reference from here on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from lutllm.errors import InputError
from lutllm.models.cache import cached
from lutllm.models.checkpoint import check_finite, sha256_of
from lutllm.models.gguf_model import GgufModel
from lutllm.models.gguf_tokenizer import tokenizer_from_gguf
from lutllm.models.hf import GENERATION, empty_module, make_config, one_line, require
from lutllm.progress import note

_ADVICE = "download it again"
RECORD, _WEIGHTS = "sha256.json", "model.safetensors"
VERSION = 2  # of the directory: raised whenever the same file would give another


def checkpoint_from_gguf(sha256: str, source: Callable[[], Path]) -> Path:
    """The directory with config.json, model.safetensors and the tokenizer of the GGUF whose content hashes to `sha256`.

    `source` gives the file and is only called when the cache does not have it.
    """
    return cached(f"gguf-{VERSION}-{sha256}", _is_whole, lambda work: _convert(source(), work))


def _is_whole(entry: Path) -> bool:
    """Whether every file of a cache entry still is what was written."""
    try:
        files = json.loads((entry / RECORD).read_text())
        return _WEIGHTS in files and all(sha256_of([entry / name]) == digest for name, digest in files.items())
    except (OSError, ValueError, AttributeError):
        return False


def converted_sha256(entry: Path) -> str:
    """The hash of a cache entry's weights, checked when the entry was looked up."""
    return json.loads((entry / RECORD).read_text())[_WEIGHTS]


def open_gguf(path: Path) -> GgufModel:
    """What the file says; refuses one that is no GGUF, is cut short, of another byte order or architecture."""
    try:
        with open(path, "rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise InputError(f"{path}: expected a readable GGUF file, got {error.strerror}; check the path") from None
    if magic != b"GGUF":
        raise InputError(f"{path}: expected a GGUF file starting with 'GGUF', got {magic!r}; {_ADVICE}")
    gguf = require("gguf")
    try:
        reader = gguf.GGUFReader(path)
        end = max((int(t.data_offset) + int(t.n_bytes) for t in reader.tensors), default=0)
        fields = {name: field.contents() for name, field in reader.fields.items()}
    except Exception as error:
        raise InputError(
            f"{path}: expected a whole GGUF file, got a damaged or truncated one ({one_line(error)}); {_ADVICE}"
        ) from None
    if reader.endianess != gguf.GGUFEndian.LITTLE:
        raise InputError(
            f"{path}: expected a little-endian GGUF file, got a big-endian one; convert it with gguf-convert-endian"
        )
    if end > path.stat().st_size or not reader.tensors:
        raise InputError(f"{path}: expected {end} bytes of GGUF data, got {path.stat().st_size}; {_ADVICE}")
    return GgufModel(fields, {tensor.name: tensor for tensor in reader.tensors}, str(path))


def _convert(path: Path, work: Path) -> None:
    """Write the checkpoint directory `work` from the GGUF file `path`."""
    file = open_gguf(path)
    note(f"converting {path.name} to float32 safetensors (once)")
    values = file.config()
    config = make_config(values, str(path))
    with require("torch").device("meta"):
        skeleton = empty_module(config, str(path))
    shapes = {name: tuple(parameter.shape) for name, parameter in skeleton.named_parameters()}
    tensors = file.weights(shapes, {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads})
    for name, tensor in tensors.items():
        check_finite(name, require("torch").from_numpy(tensor), str(path))
    require("safetensors.numpy").save_file(tensors, work / _WEIGHTS, metadata={"format": "pt"})
    (work / "config.json").write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")
    tokenizer = tokenizer_from_gguf(file.keys, str(path))
    if tokenizer is not None:
        tokenizer.save_pretrained(work)
    ends = {file.keys.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")} - {None}
    if len(ends) > 1:  # a configuration has one
        (work / GENERATION).write_text(json.dumps({"eos_token_id": sorted(ends)}) + "\n")
    (work / RECORD).write_text(json.dumps({path.name: sha256_of([path]) for path in sorted(work.iterdir())}) + "\n")
