"""The integer functions against Python integers and the real functions, over the whole range of their arguments."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lutllm import functions
from lutllm.errors import NumericsError
from lutllm.numerics import rescale
from lutllm.tools import measure_errors


def _round_shift(value: int, shift: int) -> int:
    return value if shift == 0 else (value + (1 << (shift - 1))) >> shift


def test_every_error_is_below_its_bound_and_not_far() -> None:
    bounds = {
        "rsqrt": measure_errors.RSQRT_ERROR,
        "reciprocal": measure_errors.RECIPROCAL_ERROR,
        "exp2_negative": measure_errors.EXP2_ERROR,
        "sigmoid": measure_errors.SIGMOID_ERROR,
    }
    errors = measure_errors.function_errors()
    assert errors.keys() == bounds.keys()
    for name, error in errors.items():
        assert 0.95 * bounds[name] < error <= bounds[name], name


def test_tables_are_those_of_the_definitions() -> None:
    assert functions.RSQRT.tolist() == [math.floor(2**15 / math.sqrt((i + 64.5) / 256) + 0.5) for i in range(192)]
    assert functions.RECIPROCAL.tolist() == [(2**25 + 2 * i + 257) // (4 * i + 514) for i in range(128)]
    assert functions.EXP2.tolist() == [math.floor(2 ** (15 - i / 64) + 0.5) for i in range(65)]
    assert functions.SIGMOID.tolist() == [math.floor(2**15 / (1 + math.exp(-i / 32)) + 0.5) for i in range(513)]


@given(st.integers(1, 2**63 - 1))
@example(1)
@example(2**53 - 1)
@example(2**54 - 1)
@example(2**32 - 1)
@example(2**32)
@example(2**63 - 1)
def test_rsqrt_of_any_integer(a: int) -> None:
    n = a.bit_length()
    h = math.ceil((n - 32) / 2)
    m = a >> (2 * h) if h >= 0 else a << (-2 * h)
    assert 1 << 30 <= m < 1 << 32
    t = int(functions.RSQRT[(m >> 24) - 64])
    r = (t * (3 * 2**15 - (((m >> 16) * ((t * t) >> 15)) >> 16))) >> 16
    got = functions.rsqrt(np.array([a]))
    assert [int(part[0]) for part in got] == [r, h]
    assert -15 <= h <= 16 and 1 << 15 <= r < 1 << 16
    assert abs(r * 2.0 ** -(31 + h) * math.sqrt(a) - 1) <= measure_errors.RSQRT_ERROR


@given(st.integers(1, 2**62))
@example(1)
@example(2**15)
@example(2**62)
def test_reciprocal_of_any_integer(p: int) -> None:
    length = p.bit_length()
    m = p >> (length - 16) if length >= 16 else p << (16 - length)
    t = int(functions.RECIPROCAL[(m >> 8) - 128])
    r = (t * (2**16 - ((m * t) >> 16))) >> 15
    got = functions.reciprocal(np.array([p]))
    assert [int(part[0]) for part in got] == [r, length]
    assert 1 << 15 <= r <= 1 << 16
    assert abs(r * 2.0 ** -(15 + length) * p - 1) <= measure_errors.RECIPROCAL_ERROR


@given(st.integers(0, 18 << 16) | st.integers(0, 2**47))
@example(16 << 16)
@example((17 << 16) - 1)
@example(17 << 16)
def test_exp2_of_any_argument(t: int) -> None:
    n, i, f = t >> 16, (t >> 10) & 63, t & 1023
    low, high = int(functions.EXP2[i]), int(functions.EXP2[i + 1])
    wanted = 0 if n > 16 else _round_shift(low - _round_shift((low - high) * f, 10), n)
    assert int(functions.exp2_negative(np.array([t]))[0]) == wanted


@given(st.integers(0, functions.SIGMOID_END))
@example(0)
@example(functions.SIGMOID_END)
def test_sigmoid_of_any_argument(a: int) -> None:
    i, f = a >> 7, a & 127
    low, high = int(functions.SIGMOID[i]), int(functions.SIGMOID[i + 1])
    assert int(functions.share(np.array([a]))[0]) == low + _round_shift((high - low) * f, 7)


def test_functions_are_monotonous_where_attention_and_gates_need_it() -> None:
    """A larger score must never get a smaller weight, a larger gate never a smaller sigmoid."""
    assert (np.diff(functions.exp2_negative(np.arange(18 << 16))) <= 0).all()
    assert (np.diff(functions.share(np.arange(1 << 16))) >= 0).all()
    assert functions.exp2_negative(np.array([0])) == 2**15
    assert functions.share(np.array([0, functions.SIGMOID_END])).tolist() == [2**14, 2**15]


@given(st.integers(0, 2**63 - 1))
@example(0)
def test_bit_length_is_pythons(value: int) -> None:
    assert int(functions.bit_length(np.array([value]))[0]) == value.bit_length()


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-70, 70))
@example(2**62 - 1, 0)
@example(1, 61)
@example(1, 62)
@example(-(2**62), -62)
def test_rescale_is_exact_or_an_error(value: int, shift: int) -> None:
    fits = abs(shift) <= 62 and abs(value) << max(shift, 0) < 1 << 62
    if fits:
        wanted = value << shift if shift >= 0 else _round_shift(value, -shift)
        assert int(rescale(np.array([value]), shift)[0]) == wanted
        return
    with pytest.raises(NumericsError, match="choose exponents that lie closer together"):
        rescale(np.array([value]), shift)


def test_rescale_takes_a_shift_for_each_channel() -> None:
    got = rescale(np.array([[3, 3, 3], [-3, -3, -3]]), np.array([2, 0, -1]))
    assert got.tolist() == [[12, 3, 2], [-12, -3, -1]]


REAL = {
    "silu": lambda x: 1 / (1 + math.exp(-x)),
    "gelu": lambda x: (1 + math.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "relu": lambda x: 1.0,
}


@pytest.mark.parametrize("activation", functions.SHARES)
def test_shares_are_near_the_real_ones_and_no_entry_is_near_a_half(activation):
    real = REAL[activation]
    found = functions.share(np.arange(1 << 16), activation)
    assert np.abs(found * 2.0**-15 - [real(a / 4096) for a in range(1 << 16)]).max() < 5.5e-5
    assert (np.diff(found) >= 0).all()
    assert min(abs(2.0**15 * real(i / 32) % 1 - 0.5) for i in range(513)) > 1e-4


def test_tanh_is_odd_and_near_the_real_one():
    a = np.arange(-80000, 80000)
    assert np.abs(functions.tanh(a) * 2.0**-14 - np.tanh(a / 2**13)).max() < 7.7e-5
    assert np.array_equal(functions.tanh(-a), -functions.tanh(a))
