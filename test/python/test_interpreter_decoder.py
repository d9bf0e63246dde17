"""Every decoder op against its definition in Python integers, one element at a time, and against the real function."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lutllm.errors import NumericsError
from lutllm.functions import EXP2, RECIPROCAL, RSQRT, SIGMOID
from lutllm.interpreter import decoder
from lutllm.tools import measure_errors

seeds = st.integers(0, 2**32 - 1)


def _shift(value: int, shift: int) -> int:
    """`rescale` of one integer."""
    return value << shift if shift >= 0 else (value + (1 << (-shift - 1))) >> -shift


def _clamp(value: int, bits: int) -> int:
    return max(-(1 << (bits - 1)), min((1 << (bits - 1)) - 1, value))


def _rsqrt(a: int) -> tuple[int, int]:
    h = math.ceil((a.bit_length() - 32) / 2)
    m = a >> 2 * h if h >= 0 else a << -2 * h
    t = int(RSQRT[(m >> 24) - 64])
    return t * (3 * 2**15 - ((m >> 16) * (t * t >> 15) >> 16)) >> 16, h


def _reciprocal(p: int) -> tuple[int, int]:
    n = p.bit_length()
    m = p >> (n - 16) if n >= 16 else p << (16 - n)
    t = int(RECIPROCAL[(m >> 8) - 128])
    return t * (2**16 - (m * t >> 16)) >> 15, n


def _exp2(t: int) -> int:
    n, i, f = t >> 16, t >> 10 & 63, t & 1023
    low, high = int(EXP2[i]), int(EXP2[i + 1])
    return 0 if n > 16 else _shift(low - _shift((low - high) * f, -10), -n)


def _sigmoid(a: int) -> int:
    i, f = a >> 7, a & 127
    low, high = int(SIGMOID[i]), int(SIGMOID[i + 1])
    return low + _shift((high - low) * f, -7)


def _integers(rng: np.random.Generator, shape: tuple[int, ...], bits: int) -> np.ndarray:
    """Integers of `bits` bits of all sizes, zeros and both ends among them."""
    small = rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), shape) >> rng.integers(0, bits, shape)
    ends = rng.choice([0, -(1 << (bits - 1)), (1 << (bits - 1)) - 1], shape)
    return np.where(rng.random(shape) < 0.2, ends, small)


def _within(got: np.ndarray, real: measure_errors.Real, bits: int) -> None:
    y, bound = real
    wanted = np.clip(y, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    assert (np.abs(got - wanted) <= bound + 1e-9 * np.abs(wanted)).all()


@given(seeds, st.integers(0, 12), st.integers(2, 26))
def test_embedding(seed: int, shift: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    rows, multiplier = rng.integers(-128, 128, (7, 4)).astype(np.int8), rng.integers(1, 1 << 15, 7).astype(np.int32)
    ids = rng.integers(0, 7, 5)
    got = decoder.embedding(ids, rows, multiplier, shift, bits)
    wanted = [[_clamp(_shift(int(rows[i, k]) * int(multiplier[i]), -shift), bits) for k in range(4)] for i in ids]
    assert got.tolist() == wanted
    _within(got, measure_errors.embedding_real(ids, rows, multiplier, shift), bits)


@pytest.mark.parametrize("ids", [[7], [0, -1]])
def test_embedding_of_an_id_that_is_no_token(ids: list[int]) -> None:
    rows, multiplier = np.zeros((7, 4), np.int8), np.ones(7, np.int32)
    with pytest.raises(NumericsError, match=r"expected token ids in 0..6, got .*; use the tokenizer of this model"):
        decoder.embedding(np.array(ids), rows, multiplier, 0, 26)


@pytest.mark.parametrize("wrong", [0, 1 << 15])
def test_multipliers_are_positive_and_fit_15_bits(wrong: int) -> None:
    message = rf"expected multipliers in 1..32767, got .*{wrong}"
    with pytest.raises(NumericsError, match=message):
        decoder.embedding(np.array([0]), np.zeros((1, 4), np.int8), np.array([wrong]), 0, 26)
    with pytest.raises(NumericsError, match=message):
        _attend(np.zeros((1, 2), int), np.zeros((1, 2), int), np.zeros((1, 2), int), multiplier=np.array([wrong]))


@given(seeds, st.sampled_from([(1, 6), (2, 3), (3, 1)]), st.integers(2, 30), st.integers(0, 40), st.integers(4, 32))
@example(0, (1, 6), 30, 12, 28)
def test_rms_norm(seed: int, sizes: tuple[int, int], x_bits: int, shift: int, bits: int) -> None:
    groups, channels = sizes
    rng = np.random.default_rng(seed)
    x = _integers(rng, (3, groups * channels), x_bits)
    x[0] = 0
    gain = rng.integers(-(1 << 23), 1 << 23, channels).astype(np.int32)
    epsilon = int(rng.integers(0, 1 << int(rng.integers(1, 62))))
    got = decoder.rms_norm(x, gain, groups, epsilon, shift, bits)
    for row, result in zip(x.tolist(), got.tolist(), strict=True):
        for g in range(groups):
            part = row[g * channels : (g + 1) * channels]
            r, h = _rsqrt(max(1, sum(v * v for v in part) + epsilon))
            z = [_shift(v * r, -(9 + h)) for v in part]
            assert all(abs(v) < (1 << 22) + (1 << 8) for v in z)
            wanted = [_clamp(_shift(v * int(w), -shift), bits) for v, w in zip(z, gain, strict=True)]
            assert result[g * channels : (g + 1) * channels] == wanted
    assert not got[0].any()
    _within(got, measure_errors.rms_norm_real(x, gain, groups, epsilon, shift), bits)


@given(seeds, st.integers(-40, 30), st.integers(-40, 30), st.integers(2, 32))
def test_add(seed: int, a_shift: int, b_shift: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = _integers(rng, (2, 6), 26), _integers(rng, (2, 6), 24)
    got = decoder.add(a, b, a_shift, b_shift, bits)
    pairs = zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)
    assert got.ravel().tolist() == [_clamp(_shift(u, a_shift) + _shift(v, b_shift), bits) for u, v in pairs]
    _within(got, measure_errors.add_real(a, b, a_shift, b_shift), bits)


@given(seeds, st.integers(-20, 10), st.sampled_from([4, 8, 16]))
def test_rescale(seed: int, exponent: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    x, exponents = _integers(rng, (3, 6), 28), rng.integers(-20, 20, 3).astype(np.int8)
    got = decoder.rescale_channels(x, exponent, exponents, bits)
    wanted = [[_clamp(_shift(v, exponent - int(exponents[k // 2])), bits) for k, v in enumerate(r)] for r in x.tolist()]
    assert got.tolist() == wanted
    _within(got, measure_errors.rescale_real(x, exponent, exponents), bits)


def test_exponents_too_far_apart_are_an_error() -> None:
    x = np.array([[1, 1]])
    with pytest.raises(NumericsError, match=r"expected shifts in -62..62, got -63..-63; choose exponents"):
        decoder.rescale_channels(x, -63, np.array([0], np.int8), 16)
    with pytest.raises(NumericsError, match="expected a value that fits 63 bits after its left shift"):
        decoder.rescale_channels(x, 62, np.array([0], np.int8), 16)
    assert decoder.rescale_channels(x, 61, np.array([0], np.int8), 16).tolist() == [[32767, 32767]]


@given(seeds, st.integers(-24, -2), st.integers(-24, 0), st.integers(2, 16))
def test_swiglu(seed: int, gate_exponent: int, up_exponent: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    gate, up = _integers(rng, (3, 6), 24), _integers(rng, (3, 6), 24)
    exponents = rng.integers(-20, 10, 3).astype(np.int8)
    exponents = np.maximum(exponents, gate_exponent + up_exponent - 12)
    got = decoder.swiglu(gate, up, gate_exponent, up_exponent, exponents, bits)
    for t, row in enumerate(got.tolist()):
        for k, y in enumerate(row):
            g, u = int(gate[t, k]), int(up[t, k])
            s = _sigmoid(min(65535, _shift(abs(g), gate_exponent + 12)))
            silu = _shift(g * (2**15 - s if g < 0 else s), -15)
            away = gate_exponent + up_exponent - int(exponents[k // 2])
            assert y == _clamp(_shift(silu * u, away), bits)
    _within(got, measure_errors.swiglu_real(gate, up, gate_exponent, up_exponent, exponents), bits)


def test_swiglu_far_from_zero_is_the_gate_or_nothing() -> None:
    gate, up = np.array([[20 << 14, -(20 << 14)]]), np.array([[1 << 10, 1 << 10]])
    assert decoder.swiglu(gate, up, -14, -10, np.array([-8], np.int8), 16).tolist() == [[20 << 8, 0]]


def test_last_token_and_argmax() -> None:
    x = np.array([[3, 9, 9], [7, 7, 1]])
    assert decoder.last_token(x).tolist() == [[7, 7, 1]]
    assert decoder.argmax(x).tolist() == [1, 0]
    with pytest.raises(NumericsError, match="expected at least one token, got none; give some"):
        decoder.last_token(x[:0])


def _rotations(positions: int, half: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    frequencies = 100.0 ** (-np.arange(half) / half)
    angles = np.arange(positions)[:, None] * frequencies
    cosines, sines = (np.floor(f(angles) * 2**14 + 0.5).astype(np.int16) for f in (np.cos, np.sin))
    return cosines, sines, frequencies


@given(seeds, st.sampled_from([(1, 2), (2, 4), (3, 6)]), st.integers(1, 4), st.integers(4, 28))
def test_rope(seed: int, sizes: tuple[int, int], tokens: int, bits: int) -> None:
    heads, channels = sizes
    half, rng = channels // 2, np.random.default_rng(seed)
    cosines, sines, frequencies = _rotations(9, half)
    position = int(rng.integers(0, 10 - tokens))
    x = _integers(rng, (tokens, heads * channels), bits)
    got = decoder.rope(x, np.array([position]), heads, cosines, sines, bits)
    for t, row in enumerate(got.tolist()):
        for h in range(heads):
            for i in range(half):
                at = h * channels + i
                low, high = int(x[t, at]), int(x[t, at + half])
                cos, sin = int(cosines[position + t, i]), int(sines[position + t, i])
                assert row[at] == _clamp(_shift(low * cos - high * sin, -14), bits)
                assert row[at + half] == _clamp(_shift(high * cos + low * sin, -14), bits)
    _within(got, measure_errors.rope_real(x, position, heads, frequencies), bits)


@pytest.mark.parametrize(("position", "tokens"), [(-1, 1), (9, 1), (8, 2)])
def test_rope_has_no_other_positions(position: int, tokens: int) -> None:
    cosines, sines, _ = _rotations(9, 1)
    last = position + tokens - 1
    with pytest.raises(NumericsError, match=rf"expected positions in 0..8, got {position}..{last}; shorten the text"):
        decoder.rope(np.zeros((tokens, 2), int), np.array([position]), 1, cosines, sines, 16)
    decoder.rope(np.zeros((1, 2), int), np.array([8]), 1, cosines, sines, 16)


def test_append_replaces_rows_and_leaves_its_operand() -> None:
    cache, new = np.zeros((5, 2), int), np.ones((2, 2), int)
    assert decoder.append(cache, new, np.array([3])).tolist() == [[0, 0]] * 3 + [[1, 1]] * 2
    assert not cache.any()


@pytest.mark.parametrize(("position", "tokens"), [(-1, 1), (5, 1), (4, 2), (0, 6)])
def test_a_full_cache_is_an_error(position: int, tokens: int) -> None:
    last = position + tokens - 1
    message = rf"cache full: expected positions in 0..4, got {position}..{last}; shorten the text"
    with pytest.raises(NumericsError, match=message):
        decoder.append(np.zeros((5, 2), int), np.ones((tokens, 2), int), np.array([position]))
    with pytest.raises(NumericsError, match=message):
        _attend(np.zeros((tokens, 2), int), np.zeros((5, 2), int), np.zeros((5, 2), int), position=position)


def _attend(
    query: np.ndarray, keys: np.ndarray, values: np.ndarray, *, position: int = 0, bits: int = 16, **options: object
) -> np.ndarray:
    """Attention of one head of width C with mild defaults."""
    pairs, shared = query.shape[1] // 2, values.shape[1] // 2
    given = {"heads": 1, "kv_heads": 1, "multiplier": np.array([1 << 14]), "shift": 12}
    given |= {"value_exponents": np.full(shared, -5), "exponents": np.full(pairs, -10), **options}
    return decoder.attention(query, keys, values, np.array([position]), bits=bits, **given)  # type: ignore[arg-type]


@given(
    seeds,
    st.sampled_from([(1, 1, 2), (2, 2, 4), (2, 1, 2), (3, 1, 4), (8, 1, 2), (4, 2, 6)]),
    st.integers(1, 4),
    st.integers(0, 30),
    st.sampled_from([4, 16]),
)
@settings(max_examples=60)
def test_attention(seed: int, sizes: tuple[int, int, int], tokens: int, shift: int, bits: int) -> None:
    heads, kv_heads, channels = sizes
    rng, rows = np.random.default_rng(seed), 7
    query = _integers(rng, (tokens, heads * channels), 16)
    keys, values = _integers(rng, (rows, kv_heads * channels), 8), _integers(rng, (rows, kv_heads * channels), 8)
    position = int(rng.integers(0, rows + 1 - tokens))
    multiplier = rng.integers(1, 1 << 15, heads).astype(np.int32)
    value_exponents = rng.integers(-9, 0, kv_heads * channels // 2).astype(np.int8)
    exponents = rng.integers(-20, -5, heads * channels // 2).astype(np.int8)
    options = {"heads": heads, "kv_heads": kv_heads, "multiplier": multiplier, "shift": shift}
    options |= {"value_exponents": value_exponents, "exponents": exponents}
    got = _attend(query, keys, values, position=position, bits=bits, **options)
    for t in range(tokens):
        for h in range(heads):
            g, of_query = h * kv_heads // heads, slice(h * channels, (h + 1) * channels)
            seen = range(position + t + 1)
            q, k = query[t, of_query].tolist(), keys[:, g * channels : (g + 1) * channels].tolist()
            scores = [sum(a * b for a, b in zip(q, k[j], strict=True)) for j in seen]
            p = [_exp2(_shift((max(scores) - s) * int(multiplier[h]), -shift)) for s in scores]
            r, length = _reciprocal(sum(p))
            for c in range(channels):
                o = sum(w * int(values[j, g * channels + c]) for w, j in zip(p, seen, strict=True))
                of_value = int(value_exponents[(g * channels + c) // 2])
                away = -(15 + length) + of_value - int(exponents[(h * channels + c) // 2])
                assert got[t, h * channels + c] == _clamp(_shift(o * r, away), bits)
    real = measure_errors.attention_real(query, keys, values, position, **options)  # type: ignore[arg-type]
    _within(got, real, bits)


def test_attention_to_one_row_is_that_row() -> None:
    values = np.array([[-128, 127], [55, 55]])
    got = _attend(np.array([[9, -9]]), np.array([[3, 4], [5, 6]]), values)
    assert got.tolist() == [[-128 << 5, 127 << 5]]


def test_attention_sees_no_later_row() -> None:
    rng = np.random.default_rng(0)
    query, keys, values = (_integers(rng, (6, 4), bits) for bits in (16, 8, 8))
    whole = _attend(query, keys, values)
    for t in range(6):
        later = np.arange(6)[:, None] > t
        one = _attend(query[t : t + 1], np.where(later, 99, keys), np.where(later, -99, values), position=t)
        np.testing.assert_array_equal(one[0], whole[t])


def test_attention_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    query, keys, values = (_integers(rng, (9, 4), bits) for bits in (16, 8, 8))
    whole = _attend(query[:7], keys, values, position=2)
    monkeypatch.setattr(decoder, "GROUP_ELEMENTS", 20)
    np.testing.assert_array_equal(_attend(query[:7], keys, values, position=2), whole)


def test_a_score_wider_than_32_bits_is_an_error() -> None:
    wide = 1024
    query, keys = np.full((1, wide), -32768), np.full((1, wide), -128)
    with pytest.raises(NumericsError, match=r"score \[token, row\] \[0, 0\] must fit 32 signed bits, got 4294967296"):
        _attend(query, keys, np.zeros((1, wide), int))


def test_scores_at_both_ends_of_32_bits() -> None:
    query, keys = np.full((1, 256), -32768), np.full((2, 256), -128)
    keys[1] = 127
    values = np.stack([np.full(256, 50), np.full(256, -50)])
    assert (_attend(query, keys, values, position=1) == 50 << 5).all()


def test_measured_errors_are_below_their_bounds() -> None:
    shares = {op: share for op, _, _, _, share in measure_errors.op_errors()}
    assert shares.keys() == measure_errors.OPS.keys()
    assert {op: share for op, share in shares.items() if not 0 < share <= 1} == {}
