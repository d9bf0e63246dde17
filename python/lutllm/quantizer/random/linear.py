"""A random valid `QuantizedLinear`: sizes, scheme and seed in; integers that use the widths to the full out.

For property tests and hardware tests, which need every field exercised and no model. numpy only.
"""

import numpy as np

from lutllm.errors import InputError
from lutllm.numerics import fits, round_shift
from lutllm.quantizer.linear.ranges import accumulator_range, dot_peak, row_range
from lutllm.scheme import ACC_BITS, MAX_SHIFT, QuantizedLinear, Scheme


def random_linear(
    inputs: int,
    outputs: int,
    scheme: Scheme,
    seed: int = 0,
    *,
    name: str = "linear",
    input_name: str | None = None,
    bias: bool = True,
    tables: bool = False,
    codebook: np.ndarray | None = None,
) -> QuantizedLinear:
    """A linear of `inputs` x `outputs` whose ranges are proven to fit, with right and left shifts that vary by pair.

    Same arguments, same integers. `tables` stores the lookup tables too (`vq` only); `codebook` is that of the input
    where another linear that reads it has made one. Pairs differ in scale by up to 2**6 and a few are large outliers,
    as in real models; a few outputs saturate in the requantizer.
    """
    if inputs < 2 or inputs % 2 or outputs < 1:
        raise InputError(
            f"random_linear: expected an even number of inputs >= 2 and outputs >= 1, got {inputs} and {outputs}"
        )
    rng = np.random.default_rng([seed, inputs, outputs])
    s, pairs = scheme, inputs // 2
    magnitude = rng.integers(0, 4, pairs)  # how many top bits a pair leaves unused
    if s.kind == "vq" and codebook is None:
        codebook = _integers(rng, s.act_bits, (pairs, s.S, s.c_a, 2), magnitude).astype(np.int16)
    weights = _integers(rng, s.weight_bits, (pairs, s.blocks(outputs), s.R, s.c_w, 2), rng.integers(0, 3, pairs))
    codes = rng.integers(0, s.c_w, (pairs, s.R, outputs)).astype(np.uint8)
    linear = QuantizedLinear(
        name=name,
        input_name=input_name or f"{name}.input",
        scheme=s,
        exponents=(rng.integers(-14, -7, pairs) - magnitude).astype(np.int8),
        codebook=codebook,
        weight_codebook=weights.astype(np.int8),
        codes=codes,
        shifts=np.zeros((pairs, 2), np.int8),
        multiplier=rng.integers(1 << 12, 1 << 15, outputs).astype(np.int32),
        bias=np.zeros(outputs, np.int32),
        shift=0,
        out_exponent=int(rng.integers(-16, -8)),
        metadata={"random": True},
    )
    _set_shifts(linear, rng)
    _set_requantizer(linear, rng, bias)
    if tables and s.kind == "vq":
        from lutllm.interpreter import make_tables

        linear.tables = make_tables(linear)
    return linear


def _integers(rng: np.random.Generator, bits: int, shape: tuple[int, ...], unused: np.ndarray) -> np.ndarray:
    """Integers of `bits` signed bits, pair p using `bits - unused[p]` of them (at least 2)."""
    half = 1 << (np.maximum(bits - unused, 2) - 1).astype(np.int64)
    half = half.reshape(-1, *[1] * (len(shape) - 1))
    return np.floor(rng.uniform(-half, half, shape)).astype(np.int64)


def _set_shifts(linear: QuantizedLinear, rng: np.random.Generator) -> None:
    """Smallest right shift that fits, sometimes one more; random left shifts, lowered together until sums fit."""
    s = linear.scheme
    peak = dot_peak(s, linear.codebook, linear.weight_codebook)
    width = s.table_bits
    right = np.zeros(linear.pairs, np.int64)
    while not fits(round_shift(peak, right), width):
        right += round_shift(peak, right) >= 1 << (width - 1)
    right += rng.integers(0, 2 if s.kind == "vq" else 6, linear.pairs)
    left = rng.integers(0, max(1, min(7, s.term_bits - width - s.S)), linear.pairs)
    while True:
        linear.shifts = np.stack([right, left], axis=1).astype(np.int8)
        rows = row_range(s, linear.codebook, linear.weight_codebook, linear.shifts)
        wide = np.zeros(linear.pairs, bool)
        for ends in rows:
            wide |= ((ends < -(1 << (s.term_bits - 1))) | (ends >= 1 << (s.term_bits - 1))).any(axis=(1, 2, 3))
        bound = max(np.abs(ends).max() for ends in accumulator_range(s, rows, linear.codes, linear.bias))
        wide |= bound >= 1 << (ACC_BITS - 2)  # half of the range is left to the bias
        if not wide.any():
            return
        right += wide & (left == 0)
        left -= wide & (left > 0)


def _set_requantizer(linear: QuantizedLinear, rng: np.random.Generator, bias: bool) -> None:
    """A bias of the size of the sums, and a shift that lets typical sums fill the output and extreme ones saturate."""
    s = linear.scheme
    rows = row_range(s, linear.codebook, linear.weight_codebook, linear.shifts)
    most = max(1, *(int(np.abs(ends).max()) for ends in accumulator_range(s, rows, linear.codes, linear.bias)))
    if bias:
        linear.bias = rng.integers(-most // 2, most // 2 + 1, linear.outputs).astype(np.int32)
    typical = max(1, most // max(1, int(np.sqrt(linear.pairs))))
    excess = (typical << 15).bit_length() - (s.out_bits - 1)
    linear.shift = int(np.clip(excess - rng.integers(0, 2), 0, MAX_SHIFT))
