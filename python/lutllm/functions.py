"""The non-linear functions of a decoder in integers: a table each, refined by a Newton step or by interpolation.

int64 arrays in, int64 arrays out, elementwise; the tables are what hardware holds. docs/numerics.md has the errors.
"""

import math

import numpy as np

from lutllm.numerics import round_shift

SOFTCAP_SHIFT = 8  # of what a soft-cap makes of a step of tanh


def _table(values: np.ndarray) -> np.ndarray:
    table = np.floor(values + 0.5).astype(np.int64)
    table.setflags(write=False)
    return table


# IEEE division and square roots are exact to the last bit, and no entry of the other two lies near a half: the tables
# are the same on every machine.
RSQRT = _table(2.0**15 / np.sqrt((np.arange(192) + 64.5) / 256))
RECIPROCAL = _table(2.0**23 / (np.arange(128) + 128.5))
EXP2 = _table(2.0**15 * np.exp2(-np.arange(65) / 64))
_STEPS = np.arange(513) / 32
SIGMOID = _table(2.0**15 / (1 + np.exp(-_STEPS)))
# What an activation lets through of x >= 0, of which it is x times this; of -x the rest.
SHARES = {
    "silu": SIGMOID,
    "gelu": _table(2.0**14 * (1 + np.array([math.erf(x / math.sqrt(2)) for x in _STEPS]))),
    "gelu_tanh": _table(2.0**14 * (1 + np.tanh(math.sqrt(2 / math.pi) * (_STEPS + 0.044715 * _STEPS**3)))),
    "relu": _table(np.full(513, 2.0**15)),
}

RECIPROCAL_FRACTION = 15  # of reciprocal's r
SIGMOID_END = 65535  # arguments are clamped to it: sigmoid is 1 there to all the bits it has


def bit_length(value: np.ndarray) -> np.ndarray:
    """Bits of integers >= 0: 0 for 0, else 1 + floor(log2(value))."""
    high, low = value >> 32, value & 0xFFFFFFFF  # frexp rounds beyond 53 bits
    return np.where(high > 0, 32 + np.frexp(high.astype(np.float64))[1], np.frexp(low.astype(np.float64))[1]).astype(
        np.int64
    )


def rsqrt(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(r, h) with 1/sqrt(a) ~= r * 2**-(31 + h), for a >= 1; 2**15 <= r <= 2**16, -15 <= h <= 16."""
    h = (bit_length(a) - 31) >> 1
    m = np.where(h >= 0, a >> np.maximum(2 * h, 0), a << np.maximum(-2 * h, 0))  # in units of 2**-32, 1/4 <= m < 1
    t = RSQRT[(m >> 24) - 64]
    d = ((m >> 16) * ((t * t) >> 15)) >> 16
    return (t * (3 * 2**15 - d)) >> 16, h


def reciprocal(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(r, length) with 1/p ~= r * 2**-(RECIPROCAL_FRACTION + length), for p >= 1 of `length` bits;
    2**15 <= r <= 2**16."""
    length = bit_length(p)
    m = np.where(length >= 16, p >> np.maximum(length - 16, 0), p << np.maximum(16 - length, 0))
    t = RECIPROCAL[(m >> 8) - 128]
    return (t * (2**16 - ((m * t) >> 16))) >> 15, length


def exp2_negative(t: np.ndarray) -> np.ndarray:
    """2**-(t / 2**16) in units of 2**-15, for t >= 0."""
    n, i, f = t >> 16, (t >> 10) & 63, t & 1023
    e = EXP2[i] - round_shift((EXP2[i] - EXP2[i + 1]) * f, 10)
    return np.where(n > 16, 0, round_shift(e, np.minimum(n, 16)))


def tanh(a: np.ndarray) -> np.ndarray:
    """tanh(a / 2**13) in units of 2**-14, for any a."""
    u = share(np.minimum(SIGMOID_END, np.abs(a))) - 2**14
    return np.where(a < 0, -u, u)


def share(a: np.ndarray, activation: str = "silu") -> np.ndarray:
    """The share of a / 2**12 in units of 2**-15, for 0 <= a <= SIGMOID_END; of "silu", the sigmoid."""
    table, i, f = SHARES[activation], a >> 7, a & 127
    return table[i] + round_shift((table[i + 1] - table[i]) * f, 7)
