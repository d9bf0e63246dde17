"""The integer arithmetic every level shares: one rounding mode, one saturation rule, one overflow check.

Arrays in, arrays out, all int64 unless said. A value is `integer * 2**exponent`.
"""

import numpy as np

from lutllm.errors import NumericsError

MAX_RESCALE = 62


def round_shift(value: np.ndarray, shift: np.ndarray | int) -> np.ndarray:
    """Divide by 2**shift, halves rounded up: `(value + 2**(shift-1)) >> shift`; `shift` 0 returns `value`.

    `shift` broadcasts against `value` and must be >= 0.
    """
    value = np.asarray(value, dtype=np.int64)
    shift = np.asarray(shift, dtype=np.int64)
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    return (value + half) >> shift


def rescale(value: np.ndarray, shift: np.ndarray | int) -> np.ndarray:
    """Multiply by 2**shift, which broadcasts: exact for `shift` >= 0, `round_shift` by -shift below.

    `NumericsError` for |shift| > 62 and for a result that does not fit int64.
    """
    value, shift = np.asarray(value, dtype=np.int64), np.asarray(shift, dtype=np.int64)
    if shift.size and int(np.abs(shift).max()) > MAX_RESCALE:
        raise NumericsError(
            f"expected shifts in -{MAX_RESCALE}..{MAX_RESCALE}, got {int(shift.min())}..{int(shift.max())}; "
            "choose exponents that lie closer together"
        )
    left = np.maximum(shift, 0)
    room = np.int64(np.iinfo(np.int64).max >> 1) >> left  # one bit to spare for the half of a right shift
    if ((value > room) | (value < -room)).any():
        raise NumericsError(
            "expected a value that fits 63 bits after its left shift, got a wider one; "
            "choose exponents that lie closer together"
        )
    return round_shift(value, np.maximum(-shift, 0)) << left


def saturate(value: np.ndarray, bits: int) -> np.ndarray:
    """Clamp to the range of a signed integer of `bits` bits."""
    return np.clip(value, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def fits(value: np.ndarray, bits: int) -> bool:
    """Whether every element is a signed integer of `bits` bits."""
    value = np.asarray(value)
    return value.size == 0 or (int(value.min()) >= -(1 << (bits - 1)) and int(value.max()) < 1 << (bits - 1))


def check_fits(value: np.ndarray, bits: int, what: str) -> np.ndarray:
    """Return `value`, or raise `NumericsError` naming the first element that is wider than `bits` signed bits."""
    value = np.asarray(value)
    if fits(value, bits):
        return value
    bad = (value < -(1 << (bits - 1))) | (value >= 1 << (bits - 1))
    where = tuple(int(i) for i in np.argwhere(bad)[0])
    raise NumericsError(
        f"{what}{list(where)} must fit {bits} signed bits, got {int(value[where])}; "
        f"use a larger right shift or a wider scheme"
    )


def check_range(values: np.ndarray, low: int, high: int, what: str, do: str = "quantize again") -> None:
    """Raise `NumericsError` where a value is outside low..high."""
    if values.size and not low <= values.min() <= values.max() <= high:
        raise NumericsError(f"expected {what} in {low}..{high}, got {values.min()}..{values.max()}; {do}")


def quantize(value: np.ndarray, exponent: np.ndarray | int, bits: int) -> np.ndarray:
    """Float to integer at scale 2**exponent (broadcast), halves rounded up, saturated to `bits` signed bits."""
    scaled = np.asarray(value, dtype=np.float64) * np.exp2(-np.asarray(exponent, dtype=np.float64))
    return saturate(np.floor(scaled + 0.5), bits).astype(np.int64)


def dequantize(value: np.ndarray, exponent: np.ndarray | int) -> np.ndarray:
    """Integer to float64 at scale 2**exponent (broadcast)."""
    return np.asarray(value, dtype=np.float64) * np.exp2(np.asarray(exponent, dtype=np.float64))


def bits_for(values: int) -> int:
    """Bits of an unsigned counter that takes `values` different values (at least 1)."""
    return max(1, (values - 1).bit_length())
