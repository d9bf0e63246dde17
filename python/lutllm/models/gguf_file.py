"""GGUF to a checkpoint directory: the file is checked, de-quantized to float32 once and kept in the cache by content.

The weights of a 4-bit GGUF are what its integers say; that de-quantized model is the float reference from here on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lutllm.errors import InputError
from lutllm.models.cache import cached
from lutllm.models.checkpoint import check_finite, sha256_of
from lutllm.models.hf import empty_module, make_config, one_line, require, silent, supported
from lutllm.progress import note

_ADVICE = "download it again"


def checkpoint_from_gguf(sha256: str, source: Callable[[], Path]) -> Path:
    """The directory with config.json, model.safetensors and the tokenizer of the GGUF whose content hashes to `sha256`.

    `source` gives the file and is only called when the cache does not have it.
    """
    return cached(f"gguf-{sha256}", _is_whole, lambda work: _convert(source(), sha256, work))


def _is_whole(entry: Path) -> bool:
    """Whether a cache entry still is what was written: sizes first, then the hash of the weights."""
    try:
        record = json.loads((entry / "source.json").read_text())
        weights = entry / "model.safetensors"
        return weights.stat().st_size == record["weights_bytes"] and sha256_of([weights]) == record["weights_sha256"]
    except (OSError, ValueError, KeyError):
        return False


def converted_sha256(entry: Path) -> str:
    """The hash of a cache entry's weights, checked when the entry was looked up."""
    return json.loads((entry / "source.json").read_text())["weights_sha256"]


def check_gguf(path: Path) -> None:
    """Refuse a file that is no GGUF, is cut short, or holds an architecture that is not supported."""
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
        architecture = reader.get_field("general.architecture").contents()
        end = max((int(t.data_offset) + int(t.n_bytes) for t in reader.tensors), default=0)
    except Exception as error:
        raise InputError(
            f"{path}: expected a whole GGUF file, got a damaged or truncated one ({one_line(error)}); {_ADVICE}"
        ) from None
    if end > path.stat().st_size or not reader.tensors:
        raise InputError(f"{path}: expected {end} bytes of GGUF data, got {path.stat().st_size}; {_ADVICE}")
    if architecture not in ("llama", "qwen3"):
        raise InputError(
            f"{path}: expected an architecture of {supported()}, got {architecture!r}; choose another model"
        )


def _convert(path: Path, sha256: str, work: Path) -> None:
    """Write the checkpoint directory `work` from the GGUF file `path`."""
    check_gguf(path)
    note(f"converting {path.name} to float32 safetensors (once)")
    values, tensors = _read(path)
    for name, tensor in tensors.items():
        check_finite(name, tensor, str(path))
    _write(work, values, tensors, sha256)
    _write_tokenizer(path, work)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration, and the de-quantized tensors under their PyTorch names, in float32."""
    reading = require("transformers.modeling_gguf_pytorch_utils")
    torch = require("torch")
    try:
        with silent(), patch.object(reading, "tqdm", lambda items, **_: items):
            stored = reading.load_gguf_checkpoint(str(path))["config"]
            values = {key: value for key, value in stored.items() if not key.startswith("_")}
            with torch.device("meta"):
                skeleton = empty_module(make_config(values, str(path)), str(path))
            tensors = reading.load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=skeleton)["tensors"]
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path}: expected a GGUF file that transformers can read, got {one_line(error)}; {_ADVICE}"
        ) from None
    names = dict(skeleton.named_parameters()).keys()
    return values, {name: t.to(torch.float32).contiguous() for name, t in tensors.items() if name in names}


def _write(work: Path, values: dict[str, Any], tensors: dict[str, Any], sha256: str) -> None:
    weights = work / "model.safetensors"
    require("safetensors.torch").save_file(tensors, weights, metadata={"format": "pt"})
    (work / "config.json").write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")
    record = {
        "source_sha256": sha256,
        "weights_bytes": weights.stat().st_size,
        "weights_sha256": sha256_of([weights]),
    }
    (work / "source.json").write_text(json.dumps(record, indent=2) + "\n")


def _write_tokenizer(path: Path, work: Path) -> None:
    """Save the tokenizer inside the GGUF; a file without one gives a model without a tokenizer."""
    transformers = require("transformers")
    reader = require("gguf").GGUFReader(path)
    if reader.get_field("tokenizer.ggml.tokens") is None:
        return
    try:
        with silent():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                path.parent, gguf_file=path.name, local_files_only=True
            )
            tokenizer.save_pretrained(work)
    except Exception as error:
        raise InputError(
            f"{path}: expected a tokenizer that transformers can read, got {one_line(error)}; {_ADVICE}"
        ) from None
