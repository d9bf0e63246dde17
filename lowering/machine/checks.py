"""What says that memory is as it was written: bytes in, check values out. Hardware computes the same of what it reads.

Both see every flipped bit and the order of what they read. The CRC is that of X.25 (CRC-CCITT, x^16 + x^12 + x^5 + 1).
A signature is the polynomial in x^29 that has the words as its coefficients, first word highest, over GF(2^64) with
x^64 = x^4 + x^3 + x + 1: a word costs hardware about two LUTs a bit, so that every port checks what it reads at full
speed. The power is odd, so that parts of a byte that change places across words are seen.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable
from functools import cache

import numpy as np

CRC_BITS, SIGNATURE_BITS = 16, 64
STEP = 29
TAPS = (0, 1, 3, 4)  # of x^64


def crc(words: list[int], start: int = 0) -> int:
    """Of 64-bit words, their lowest bytes first, after what gave `start`."""
    return crc_hqx(np.array(words, "<u8").tobytes(), start)


def signature(data: np.ndarray, port_bits: int) -> int:
    """Of bytes that a port of `port_bits` reads, whole beats, in words of 64 bits or of a narrower port."""
    words = np.ascontiguousarray(data).view(f"<u{min(port_bits, SIGNATURE_BITS) // 8}")
    return int(_compiled()(words))


@cache
def _compiled() -> Callable[[np.ndarray], np.uint64]:
    from numba import njit  # here, because importing it takes longer than most commands of lutllm-opt

    return njit(_signature)


def _signature(words: np.ndarray) -> np.uint64:
    state = np.uint64(0)
    for word in words:
        high = state >> np.uint64(SIGNATURE_BITS - STEP)
        state = state << np.uint64(STEP) ^ np.uint64(word)
        for tap in TAPS:
            state ^= high << np.uint64(tap)
    return state
