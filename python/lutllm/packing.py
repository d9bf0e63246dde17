"""Integers at their bits in a safetensors file: arrays of uint8 in, bytes out, and back; what its header says of it."""

import json
import math
from collections.abc import Iterator, Mapping

import numpy as np

HEADER = "lutllm.packed"  # in a file's metadata: bits and shape of each packed array, as JSON
CHUNK = 1 << 20  # values packed at a time, which fill whole bytes

Shapes = dict[str, tuple[int, tuple[int, ...]]]  # bits and shape by name


def described(arrays: Mapping[str, tuple[int, tuple[int, ...]]]) -> dict[str, str]:
    """The metadata of a file that holds packed arrays."""
    return {HEADER: json.dumps({n: [bits, *shape] for n, (bits, shape) in sorted(arrays.items())})} if arrays else {}


def shapes(metadata: Mapping[str, str]) -> Shapes:
    """The inverse of `described`."""
    return {name: (bits, tuple(shape)) for name, (bits, *shape) in json.loads(metadata.get(HEADER, "{}")).items()}


def pack(values: np.ndarray, bits: int) -> Iterator[np.ndarray]:
    """uint8 [n] below 2**bits one after the other, low bits first, in parts."""
    for at in range(0, len(values), CHUNK):
        part = values[at : at + CHUNK]
        if bits == 4:
            part = np.pad(part, (0, len(part) % 2))
            yield part[0::2] | part[1::2] << 4
        else:
            yield np.packbits(np.unpackbits(part[:, None], axis=1, count=bits, bitorder="little"), bitorder="little")


def unpack(data: np.ndarray, bits: int, count: int) -> np.ndarray:
    """The inverse of `pack`: uint8 [count]."""
    found = np.empty(count, np.uint8)
    for at in range(0, count, CHUNK):
        part = found[at : at + CHUNK]
        here = data[at * bits // 8 :][: math.ceil(len(part) * bits / 8)]
        if bits == 4:
            part[0::2], part[1::2] = here & 15, here[: len(part) // 2] >> 4
        else:
            spread = np.unpackbits(here, count=len(part) * bits, bitorder="little").reshape(-1, bits)
            part[:] = np.packbits(spread, axis=1, bitorder="little")[:, 0]
    return found
