"""What every integer of a quantized linear can be, for any input: scheme and codebooks in, proven ranges out.

Nothing is sampled here. A row's range is taken over every activation index (or every input of `x_bits`), an
accumulator's over every subset of its terms, so a partial sum in any order is covered too. numpy only.
"""

import numpy as np

from lutllm.errors import InputError, NumericsError
from lutllm.numerics import check_fits, fits, round_shift
from lutllm.scheme import ACC_BITS, MAX_SHIFT, QuantizedLinear, Scheme
from lutllm.store import check_linear

_CHUNK = 128  # pairs whose tables are held at once


def dot_peak(scheme: Scheme, codebook: np.ndarray | None, weight_codebook: np.ndarray) -> np.ndarray:
    """Per pair, the largest |integer dot product| a row entry is made from. int64 [P]."""
    low, high = _dot_range(scheme, codebook, weight_codebook)
    axes = tuple(range(1, low.ndim))
    return np.maximum(np.abs(low).max(axis=axes), np.abs(high).max(axis=axes))


def _dot_range(
    scheme: Scheme, codebook: np.ndarray | None, weight_codebook: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest dot product over the activations: [P, B, R, S, c_w], without S for exact rows."""
    weights = weight_codebook.astype(np.int64)  # [P, B, R, c_w, 2]
    if scheme.kind == "exact":
        least, most = -(1 << (scheme.x_bits - 1)), (1 << (scheme.x_bits - 1)) - 1
        ends = np.stack([weights * least, weights * most])
        return ends.min(axis=0).sum(axis=-1), ends.max(axis=0).sum(axis=-1)
    assert codebook is not None
    lows, highs = [], []
    for start in range(0, len(weights), _CHUNK):
        part = weights[start : start + _CHUNK]
        centroids = codebook[start : start + _CHUNK].astype(np.int64)  # [p, S, c_a, 2]
        a = centroids[:, None, None, :, :, None, :]
        w = part[:, :, :, None, None, :, :]
        dots = a[..., 0] * w[..., 0] + a[..., 1] * w[..., 1]  # [p, B, R, S, c_a, c_w]
        lows.append(dots.min(axis=4))
        highs.append(dots.max(axis=4))
    return np.concatenate(lows), np.concatenate(highs)


def row_range(
    scheme: Scheme, codebook: np.ndarray | None, weight_codebook: np.ndarray, shifts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest row entry for any input, int64 [P, B, R, c_w]. Rounding is monotonic: ends map to ends."""
    low, high = _dot_range(scheme, codebook, weight_codebook)
    right, left = (shifts[:, i].astype(np.int64).reshape(-1, *[1] * (low.ndim - 1)) for i in (0, 1))
    low, high = round_shift(low, right), round_shift(high, right)
    if scheme.kind == "vq":
        low, high, left = low.sum(axis=3), high.sum(axis=3), left[..., 0]
    return low << left, high << left


def accumulator_range(
    scheme: Scheme, rows: tuple[np.ndarray, np.ndarray], codes: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds int64 [N] of every partial sum of `bias + sum of terms`, whatever the order and the input."""
    outputs = codes.shape[2]
    block = np.arange(outputs) // scheme.G
    low, high = (np.minimum(rows[0], 0), np.maximum(rows[1], 0))
    least = np.minimum(bias.astype(np.int64), 0)
    most = np.maximum(bias.astype(np.int64), 0)
    for pair, stages in enumerate(codes):
        for stage, chosen in enumerate(stages):
            least += low[pair, block, stage, chosen]
            most += high[pair, block, stage, chosen]
    return least, most


def _range_for_any_codes(rows: tuple[np.ndarray, np.ndarray], bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds int64 [B] that hold for every accumulator of a block, whatever its codes."""
    least = np.minimum(rows[0].min(axis=3), 0).sum(axis=(0, 2)) + min(int(bias.min()), 0)
    most = np.maximum(rows[1].max(axis=3), 0).sum(axis=(0, 2)) + max(int(bias.max()), 0)
    return least, most


def validate(linear: QuantizedLinear) -> QuantizedLinear:
    """Prove that no input makes an integer of this linear leave its declared width; return it, or say what does.

    Covers the shapes and index ranges (`lutllm.store.check_linear`), table entries, rows, accumulator and bias.
    """
    check_linear(linear)
    s = linear.scheme
    low, high = _dot_range(s, linear.codebook, linear.weight_codebook)
    right = linear.shifts[:, 0].astype(np.int64).reshape(-1, *[1] * (low.ndim - 1))
    what = "table" if s.kind == "vq" else "unshifted row"
    for ends in (low, high):
        check_fits(round_shift(ends, right), s.table_bits, f"{what} of '{linear.name}' [pair, block, r, ...] at ")
    rows = row_range(s, linear.codebook, linear.weight_codebook, linear.shifts)
    for ends in rows:
        check_fits(ends, s.term_bits, f"row of '{linear.name}' [pair, block, r, w] at ")
    if all(fits(end, ACC_BITS) for end in _range_for_any_codes(rows, linear.bias)):
        ends_of_sums: tuple[np.ndarray, ...] = ()  # proven without a look at the codes, which takes long
    else:
        ends_of_sums = accumulator_range(s, rows, linear.codes, linear.bias)
    for ends in ends_of_sums:
        if not fits(ends, ACC_BITS):
            at = int(np.abs(ends).argmax())
            raise NumericsError(
                f"accumulator of '{linear.name}' output {at}: expected every sum to fit {ACC_BITS} signed bits, "
                f"got up to {int(ends[at])}; use smaller left shifts"
            )
    if not 0 <= linear.shift <= MAX_SHIFT:
        raise InputError(f"shift of '{linear.name}': expected 0..{MAX_SHIFT}, got {linear.shift}")
    return linear
