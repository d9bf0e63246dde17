"""A program as data: what runs need beside machine code and parameters, from `lut_to_cpu`, and as a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

FEW = 8  # tokens at most that threads share by outputs: a code is read once for all; more are shared by tokens


@dataclass(frozen=True)
class Tensor:
    """Of an argument or result: a None in `shape` is the number of tokens; integers have `bits` signed bits."""

    shape: tuple[int | None, ...]
    dtype: np.dtype
    bits: int


@dataclass(frozen=True)
class CpuFunction:
    """What a caller of a function must know.

    `in_place` maps a result to the argument that holds it afterwards. `limits`: (argument that is a position, rows
    that it and the tokens from it on must not exceed, of what, how many tokens or None: the run's). `caches`: arguments
    to which each token has a pointer. `ids`: (argument of token ids, vocabulary).
    """

    arguments: tuple[Tensor, ...]
    results: tuple[Tensor, ...]
    in_place: Mapping[int, int]
    limits: tuple[tuple[int, int, str, int | None], ...]
    caches: tuple[int, ...]
    ids: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Plan:
    """`words` of a function, for runs of few tokens or of more, name kernels by their place in `kernels`, from 1 on;
    memory is in bytes, `scratch_bytes` for each thread. `tokens` is the most a run may have."""

    kernels: tuple[str, ...]
    functions: Mapping[str, CpuFunction]
    words: Mapping[tuple[str, bool], np.ndarray]
    parameter_bytes: int
    arena_bytes: int
    scratch_bytes: int
    tokens: int

    def located(self, words: np.ndarray, addresses: Mapping[str, int]) -> np.ndarray:
        """Words with the addresses of kernels."""
        found, at = words.copy(), 0
        while words[at]:
            found[at] = addresses[self.kernels[words[at] - 1]]
            at += 3 + 2 * int(words[at + 2])
        return found

    def to_dict(self) -> tuple[dict[str, Any], np.ndarray]:
        """All but the words, in JSON's types, and the words one after the other."""
        functions = {
            name: asdict(f) | {part: [(t.shape, t.dtype.name, t.bits) for t in getattr(f, part)] for part in _TENSORS}
            for name, f in self.functions.items()
        }
        sizes = [(*key, words.size) for key, words in self.words.items()]
        return vars(self) | {"functions": functions, "words": sizes}, np.concatenate(list(self.words.values()))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], words: np.ndarray) -> Plan:
        """What `to_dict` gave."""
        ends = np.cumsum([size for *_, size in values["words"]])
        parts = {
            (name, few): words[end - size : end] for (name, few, size), end in zip(values["words"], ends, strict=True)
        }
        functions = {name: _function(entry) for name, entry in values["functions"].items()}
        return cls(**{**values, "kernels": tuple(values["kernels"]), "functions": functions, "words": parts})


_TENSORS = ("arguments", "results")


def _function(entry: Mapping[str, Any]) -> CpuFunction:
    arguments, results = (
        tuple(Tensor(tuple(shape), np.dtype(name), bits) for shape, name, bits in entry[part]) for part in _TENSORS
    )
    return CpuFunction(
        arguments,
        results,
        in_place={int(result): argument for result, argument in entry["in_place"].items()},
        limits=tuple(tuple(limit) for limit in entry["limits"]),
        caches=tuple(entry["caches"]),
        ids=tuple(tuple(one) for one in entry["ids"]),
    )
