"""What starts of a program share: its object code and packed parameters in the cache, made once.

In: a program lowered, the arrays it names. Out: a directory, whose content is what its checksums say. Its name is a
hash of everything it depends on: arrays, code, processor, and the sources that pack and check.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from lutllm import store
from lutllm.cpu import jit
from lutllm.lowering import cpu as lowering
from lutllm.lowering.cpu.lut_to_cpu import CpuCode
from lutllm.models import cache
from lutllm.quantizer import linear

PREFIX, MOST = "cpu-", 4  # entries, a program's each
CODE, PARAMETERS, SUMS = "code.o", "parameters.bin", "sha256.json"


def kept(code: CpuCode, arrays: Mapping[str, np.ndarray], build: Callable[[Path], None]) -> Path:
    """The directory of a program, which `build` fills with CODE and PARAMETERS where it is not there or damaged."""

    def filled(folder: Path) -> None:
        build(folder)
        store.write_json(folder / SUMS, {name: store.sha256(folder / name) for name in (CODE, PARAMETERS)})

    folder = cache.cached(PREFIX + _key(code, arrays), _whole, filled)
    os.utime(folder)
    cache.keep_newest(PREFIX, MOST)
    return folder


def _whole(folder: Path) -> bool:
    if not (folder / SUMS).is_file():
        return False
    sums = store.read_json(folder / SUMS)
    return all((folder / name).is_file() and store.sha256(folder / name) == found for name, found in sums.items())


def _key(code: CpuCode, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(f"{code.text}\n{jit.processor()}\n{_sources()}\n".encode())
    for offset, packed in code.parameters:
        digest.update(f"{offset} {packed.size} {packed.symbols}\n".encode())
        for name in packed.symbols:
            array = np.ascontiguousarray(arrays[name])
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
            digest.update(array.data)
    return digest.hexdigest()[:24]


@lru_cache(maxsize=1)
def _sources() -> str:
    return cache.sources(lowering, linear)
