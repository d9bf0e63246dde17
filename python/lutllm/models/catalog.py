"""What can be named as a model, and what the cache holds of models: names and paths in, what they are out."""

from __future__ import annotations

import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lutllm.errors import InputError, near
from lutllm.models import random_weights
from lutllm.models.cache import cache_directory
from lutllm.models.packaged import PACKAGED

_HUB = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class BuiltIn:
    """A model that a name stands for; `bytes` are downloaded, once."""

    name: str
    parameters: str
    bytes: int
    licence: str
    source: str


@dataclass(frozen=True)
class Entry:
    """A directory of the cache."""

    name: str
    bytes: int


def _random(name: str) -> BuiltIn:
    size = "1.7 B" if name == "qwen3-1.7b" else "0.1 M"
    return BuiltIn(name, size, 0, "-", "random weights, made here from --seed")


BUILT_IN = {
    model.name: model
    for model in (
        *(BuiltIn(p.name, p.parameters, p.bytes, p.licence, f"{p.packages}: {p.source}") for p in PACKAGED.values()),
        *map(_random, random_weights.CONFIGS),
    )
}
BUILTIN_NAMES = tuple(BUILT_IN)


def no_model(spec: str, also: str = "") -> InputError:
    """The error for a name that is neither a file nor known, with what may have been meant; `also`: what else it could
    have been."""
    names = ", ".join(BUILTIN_NAMES)
    text = f"'{spec}': expected {also}a model directory, a GGUF file or one of {names}; found no such file"
    text += "; models are not downloaded by name"
    if _HUB.fullmatch(spec):
        local = spec.split("/")[1]
        return InputError(f"{text}: hf download {spec} --local-dir {local}, then give {local}")
    return InputError(text + near(spec, BUILTIN_NAMES))


def entries() -> list[Entry]:
    """What the cache holds, the names of quantized models with their folder."""
    root = cache_directory()
    paths = [path for path in sorted((*root.glob("*"), *root.glob("quantized/*"))) if path != root / "quantized"]
    return [Entry(str(path.relative_to(root)), _size(path)) for path in paths if not path.name.startswith(".")]


def remove(names: list[str]) -> list[Entry]:
    """Take these entries out of the cache; InputError, and none taken, where one is not there."""
    there = {entry.name: entry for entry in entries()}
    for name in names:
        if name not in there:
            hint = near(name, there) or "; `lutllm models` lists them"
            raise InputError(f"'{name}': expected an entry of the cache in {cache_directory()}, got no such one{hint}")
    for name in names:
        path = cache_directory() / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return [there[name] for name in names]


def catalog() -> dict[str, Any]:
    """Built-in models and the cache, for reports."""
    models = [asdict(model) for model in BUILT_IN.values()]
    return {"models": models, "cache": str(cache_directory()), "entries": [asdict(entry) for entry in entries()]}


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink())
