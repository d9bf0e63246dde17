"""Shifts, multipliers and bias: integer codebooks with their exponents in, a valid `QuantizedLinear` out. numpy only.

The scales. Input pair p has exponent e_p and its weight entries w_p, so its dot products have e_p + w_p. A right
shift makes table entries (or exact rows) fit `table_bits`; a left shift brings every pair to one accumulator exponent
E: e_p + w_p + right_p - left_p = E. E is the finest for which rows and every possible sum provably fit; pairs finer
than E get a larger right shift instead. An output's own scale is multiplier[o] * 2**-k, so
y = (acc + bias) * multiplier * 2**-shift has exponent E - k + shift.
"""

from dataclasses import dataclass, replace

import numpy as np

from lutllm.errors import NumericsError
from lutllm.numerics import fits, round_shift
from lutllm.quantizer.linear.ranges import accumulator_range, dot_peak, row_range, validate
from lutllm.scheme import ACC_BITS, MAX_PAIR_SHIFT, MAX_SHIFT, MULTIPLIER_BITS, QuantizedLinear, Scheme

INPUT_HEADROOM = 2.0  # a calibration peak takes at most half of the input's integer range
OUTPUT_HEADROOM = 4.0  # and at most a quarter of the output's
EXPONENT_SPAN = 24  # pairs quieter than the loudest by more than 2**24 share the finest exponent


@dataclass(frozen=True)
class RowScale:
    """A scale per output as `multiplier[o] * 2**-k`: int32 [N], positive and of `MULTIPLIER_BITS` signed bits."""

    multiplier: np.ndarray
    k: int

    @property
    def value(self) -> np.ndarray:
        return self.multiplier * np.exp2(-float(self.k))


def row_scale(weight: np.ndarray, enabled: bool = True) -> RowScale:
    """The root mean square of each row, at least 1/256 of the largest; one scale for all rows when not `enabled`."""
    rms = np.sqrt([np.mean(np.square(row.astype(np.float64))) for row in weight])
    return encoded_scale(rms if enabled else np.full_like(rms, rms.max(initial=0.0)))


def encoded_scale(scale: np.ndarray) -> RowScale:
    """Positive scales [N] as integers."""
    largest = float(scale.max(initial=0.0))
    limit = (1 << (MULTIPLIER_BITS - 1)) - 1
    if largest == 0.0:
        return RowScale(np.full(len(scale), (limit + 1) // 2, np.int32), MULTIPLIER_BITS - 2)
    k = int(np.floor(np.log2(limit / largest)))
    least = max(1, int(largest * np.exp2(float(k))) // 256)
    return RowScale(np.clip(np.rint(scale * np.exp2(float(k))), least, limit).astype(np.int32), k)


def input_exponents(peak: np.ndarray, bits: int) -> np.ndarray:
    """int8 [P]: the finest power of two at which a pair's recorded peak [P], with headroom, is a `bits` integer."""
    limit = (1 << (bits - 1)) - 1
    loud = float(peak.max(initial=0.0))
    floor = loud * 2.0**-EXPONENT_SPAN if loud > 0 else 1.0
    needed = np.ceil(np.log2(np.maximum(peak, floor).astype(np.float64) * INPUT_HEADROOM / limit))
    return np.clip(needed, -128, 127).astype(np.int8)


def choose_shifts(
    scheme: Scheme,
    codebook: np.ndarray | None,
    weight_codebook: np.ndarray,
    codes: np.ndarray,
    exponents: np.ndarray,
    bias: np.ndarray,
    scale: RowScale,
) -> tuple[np.ndarray, np.ndarray, int]:
    """(shifts int8 [P, 2], bias int32 [N], accumulator exponent E). `exponents` int [P] are those of dot products."""
    peak = dot_peak(scheme, codebook, weight_codebook)
    least = _least_right_shift(peak, scheme.table_bits)
    natural = exponents + least  # the exponent of a row before its left shift
    live = peak > 0
    low, high = (int(f(natural[live])) if live.any() else 0 for f in (np.min, np.max))
    common = max(low, high - scheme.term_bits)
    while True:
        right = least + np.maximum(0, common - natural)
        left = np.maximum(0, natural - common)
        right[~live], left[~live] = 0, 0
        shifts = np.stack([np.minimum(right, MAX_PAIR_SHIFT), left], axis=1).astype(np.int8)
        rows = row_range(scheme, codebook, weight_codebook, shifts)
        integer_bias = np.rint(bias / (scale.value * np.exp2(float(common))))
        if all(fits(ends, scheme.term_bits) for ends in rows) and fits(integer_bias, ACC_BITS):
            integer_bias = integer_bias.astype(np.int32)
            if all(fits(ends, ACC_BITS) for ends in accumulator_range(scheme, rows, codes, integer_bias)):
                return shifts, integer_bias, common
        common += 1
        if common > high + 64:
            raise NumericsError(
                "accumulator: expected an exponent at which bias and sums fit, got none; check the bias"
            )


def _least_right_shift(peak: np.ndarray, width: int) -> np.ndarray:
    """Per pair, the smallest shift after which `peak` fits `width` signed bits."""
    right = np.zeros(len(peak), np.int64)
    while True:
        wide = round_shift(peak, right) >= 1 << (width - 1)
        if not wide.any():
            return right
        right += wide


def assemble(
    *,
    name: str,
    input_name: str,
    scheme: Scheme,
    exponents: np.ndarray,
    codebook: np.ndarray | None,
    weight_codebook: np.ndarray,
    weight_exponents: np.ndarray,
    codes: np.ndarray,
    scale: RowScale,
    bias: np.ndarray | None,
    output_peak: float,
    metadata: dict | None = None,
) -> QuantizedLinear:
    """A linear whose float meaning is `scale[o] * sum of W entries * 2**weight_exponents` (+ bias), all ranges proven.

    `output_peak` is the largest recorded |output|; it, with headroom, decides the output exponent.
    """
    outputs = codes.shape[2]
    floats = np.zeros(outputs) if bias is None else bias.astype(np.float64)
    dots = exponents.astype(np.int64) + weight_exponents.astype(np.int64)
    shifts, integer_bias, common = choose_shifts(scheme, codebook, weight_codebook, codes, dots, floats, scale)
    linear = QuantizedLinear(
        name=name,
        input_name=input_name,
        scheme=scheme,
        exponents=exponents.astype(np.int8),
        codebook=codebook,
        weight_codebook=weight_codebook,
        codes=codes,
        shifts=shifts,
        multiplier=scale.multiplier.astype(np.int32),
        bias=integer_bias,
        shift=0,
        out_exponent=0,
        metadata={**(metadata or {}), "accumulator_exponent": common},
    )
    linear.shift, linear.out_exponent = _requantizer(linear, scale.k, common, output_peak)
    return validate(linear)


def multiplied(linear: QuantizedLinear, factor: float) -> QuantizedLinear:
    """The linear whose outputs are `factor` > 0 times as large, by its multipliers and its exponent."""
    if factor == 1.0:
        return linear
    common = int(linear.metadata["accumulator_exponent"])
    scale = encoded_scale(linear.multiplier * (factor * np.exp2(float(linear.out_exponent - linear.shift - common))))
    peak = float(linear.metadata["output_peak"]) * factor
    found = replace(linear, multiplier=scale.multiplier, metadata={**linear.metadata, "output_peak": peak})
    found.shift, found.out_exponent = _requantizer(found, scale.k, common, peak)
    return validate(found)


def _requantizer(linear: QuantizedLinear, k: int, common: int, output_peak: float) -> tuple[int, int]:
    """(shift, output exponent): the recorded peak with headroom fits, or every possible output if that is finer."""
    s = linear.scheme
    limit = (1 << (s.out_bits - 1)) - 1
    rows = row_range(s, linear.codebook, linear.weight_codebook, linear.shifts)
    sums = np.maximum(*(np.abs(ends) for ends in accumulator_range(s, rows, linear.codes, linear.bias)))
    largest = int((sums * linear.multiplier).max())
    shift = max(0, largest.bit_length() - (s.out_bits - 1))
    if output_peak > 0:
        shift = min(shift, int(np.ceil(np.log2(output_peak * OUTPUT_HEADROOM / limit))) - common + k)
    shift = int(np.clip(shift, 0, MAX_SHIFT))
    return shift, common - k + shift
