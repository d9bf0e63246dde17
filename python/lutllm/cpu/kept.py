"""What starts of a program share: its object code and packed parameters in the cache, made once.

In: a program lowered, the arrays it names. Out: a directory, whose content is what its checksums say. Its name is a
hash of everything it depends on: arrays, code, processor, and the sources that pack and check.

A model that lies on the disk has another entry, a start: its plan, and which directory it goes with. Its name is a hash
of all that leads to it - the model's own hash, lutllm's sources, versions -, so that nothing is lowered to find it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lutllm import store
from lutllm.cpu import jit
from lutllm.lowering.cpu.plan import Plan
from lutllm.models import cache

if TYPE_CHECKING:
    from lutllm.lowering.cpu.lut_to_cpu import CpuCode

PREFIX, MOST = "cpu-", 4  # entries, a program's each
START, MOST_STARTS = "start-", 16
CODE, PARAMETERS = "code.o", "parameters.bin"
PLAN, WORDS = "plan.json", "words.npy"
_SOURCES = ("cpu", "dialect", "interpreter", "lowering", "passes", "quantized", "quantizer", "run")
_PACKAGES = ("llvmlite", "numpy", "torch-mlir")


def kept(code: CpuCode, arrays: Mapping[str, np.ndarray], build: Callable[[Path], None]) -> Path:
    """The directory of a program, which `build` fills with CODE and PARAMETERS where it is not there or damaged."""
    return cache.kept(PREFIX, _key(code, arrays), MOST, build)


def start_key(*facts: object) -> str:
    """The name of a start that follows from these facts, this lutllm and this machine."""
    versions = [version(name) for name in _PACKAGES]
    return hashlib.sha256(repr((facts, versions, jit.processor(), cache.sources(*_SOURCES))).encode()).hexdigest()[:24]


def remember(key: str, program: str, plan: Plan, about: Mapping[str, Any]) -> None:
    """Keep the plan of a start, the name of its program's directory, and what else a caller wants to find, as JSON."""
    values, words = plan.to_dict()

    def build(folder: Path) -> None:
        store.write_json(folder / PLAN, {"program": program, "plan": values, **about})
        np.save(folder / WORDS, words)

    cache.kept(START, key, MOST_STARTS, build)


def remembered(key: str) -> tuple[Path, Plan, dict[str, Any]] | None:
    """The program's directory, the plan, and what else was kept; None where one of it is not there, or damaged."""
    start = cache.cache_directory() / f"{START}{key}"
    if not cache.is_whole(start):
        return None
    about = store.read_json(start / PLAN)
    folder = start.parent / about["program"]
    if not cache.is_whole(folder):
        return None
    for used in (start, folder):
        used.touch()
    return folder, Plan.from_dict(about["plan"], np.load(start / WORDS, allow_pickle=False)), about


def _key(code: CpuCode, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(f"{code.text}\n{jit.processor()}\n{cache.sources('lowering', 'quantizer')}\n".encode())
    for offset, packed in code.parameters:
        digest.update(f"{offset} {packed.size} {packed.symbols}\n".encode())
        for name in packed.symbols:
            array = np.ascontiguousarray(arrays[name])
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
            digest.update(array.data)
    return digest.hexdigest()[:24]
