"""What every decoder op computes, one function each: integer arrays in, int64 arrays out. T tokens, K channels.

`exponents` hold one exponent for each pair of channels. Results saturate to `bits`, where an op has them; everything
before that is exact in int64 or raises NumericsError.
"""

import numpy as np

from lutllm.errors import NumericsError
from lutllm.functions import SIGMOID_END, SOFTCAP_SHIFT, exp2_negative, reciprocal, rsqrt, share, tanh
from lutllm.interpreter.floats import rotation_pairs
from lutllm.numerics import check_fits, check_range, rescale, round_shift, saturate
from lutllm.scheme import MULTIPLIER_BITS

SCORE_BITS = 32
GROUP_ELEMENTS = 1 << 22  # scores at a time; bounds memory, never changes a result


def embedding(ids: np.ndarray, rows: np.ndarray, multiplier: np.ndarray, shift: int, bits: int) -> np.ndarray:
    """The row of each token: ids [T], rows [V, D], multiplier [V] -> [T, D]."""
    check_range(ids, 0, rows.shape[0] - 1, "token ids", "use the tokenizer of this model")
    check_range(multiplier, 1, (1 << (MULTIPLIER_BITS - 1)) - 1, "multipliers")
    scaled = rows[ids].astype(np.int64) * multiplier[ids].astype(np.int64)[:, None]
    return saturate(round_shift(scaled, shift), bits)


def rms_norm(
    x: np.ndarray,
    gain: np.ndarray,
    groups: int,
    epsilon: int,
    shift: int,
    bits: int,
    centered: bool = False,
    bias: np.ndarray | None = None,
) -> np.ndarray:
    """Each group of channels divided by its root mean square: x [..., K], gain and bias [K / groups] -> [..., K]."""
    grouped = x.reshape(*x.shape[:-1], groups, -1)
    if centered:
        channels = grouped.shape[-1]
        grouped = grouped - (2 * grouped.sum(axis=-1, keepdims=True) + channels) // (2 * channels)
    squares = np.square(grouped).sum(axis=-1, keepdims=True)
    r, h = rsqrt(np.maximum(1, squares + epsilon))
    z = rescale(grouped * r, -(9 + h))
    y = round_shift(z * gain.astype(np.int64), shift)
    return saturate(y if bias is None else y + bias.astype(np.int64), bits).reshape(x.shape)


def add(a: np.ndarray, b: np.ndarray, a_shift: int, b_shift: int, bits: int) -> np.ndarray:
    """The sum of two tensors, each first shifted to the exponent of the sum."""
    return saturate(rescale(a, a_shift) + rescale(b, b_shift), bits)


def rescale_channels(x: np.ndarray, exponent: int, exponents: np.ndarray, bits: int) -> np.ndarray:
    """From one exponent to one for each pair of channels: x [..., K]."""
    return saturate(rescale(x, exponent - _channels(exponents)), bits)


def swiglu(
    gate: np.ndarray,
    up: np.ndarray | int,
    gate_exponent: int,
    up_exponent: int,
    exponents: np.ndarray,
    bits: int,
    activation: str = "silu",
) -> np.ndarray:
    """gate * share(gate) * up, [..., K]; 1 at exponent 0 stands for no `up`."""
    s = share(np.minimum(SIGMOID_END, rescale(np.abs(gate), gate_exponent + 12)), activation)
    active = round_shift(gate * np.where(gate < 0, 2**15 - s, s), 15)
    return saturate(rescale(active * up, gate_exponent + up_exponent - _channels(exponents)), bits)


def soft_cap(x: np.ndarray, exponent: int, multiplier: int, shift: int, bits: int) -> np.ndarray:
    """tanh times a number, of x at `exponent`."""
    return saturate(round_shift(tanh(rescale(x, exponent + 13)) * multiplier, shift), bits)


def last_token(x: np.ndarray) -> np.ndarray:
    """The last row of x [T, K] -> [1, K]."""
    if not len(x):
        raise NumericsError("expected at least one token, got none; give some")
    return x[-1:]


def argmax(x: np.ndarray) -> np.ndarray:
    """The index of the largest of each row, the lowest of equals: x [T, N] -> [T]."""
    return x.argmax(axis=-1).astype(np.int64)


def rope(
    x: np.ndarray,
    position: np.ndarray,
    heads: int,
    cosines: np.ndarray,
    sines: np.ndarray,
    bits: int,
    interleaved: bool = False,
) -> np.ndarray:
    """The channels of a pair rotated by its angle and the token's position: x [T, K] -> [T, K]."""
    start, tokens = int(position[0]), x.shape[0]
    if start < 0 or start + tokens > cosines.shape[0]:
        raise NumericsError(
            f"expected positions in 0..{cosines.shape[0] - 1}, got {start}..{start + tokens - 1}; "
            "shorten the text or make longer RoPE tables"
        )
    grouped = x.reshape(tokens, heads, -1)
    result = grouped.copy()
    first, second = rotation_pairs(cosines.shape[1], interleaved)
    low, high = grouped[..., first], grouped[..., second]
    cos, sin = (table[start : start + tokens, None, :].astype(np.int64) for table in (cosines, sines))
    result[..., first] = saturate(round_shift(low * cos - high * sin, 14), bits)
    result[..., second] = saturate(round_shift(high * cos + low * sin, 14), bits)
    return result.reshape(x.shape)


def append(cache: np.ndarray, new: np.ndarray, position: np.ndarray) -> np.ndarray:
    """The cache [M, K] with the rows new [T, K] from `position` on."""
    start, stop = _rows_seen(cache, position, new.shape[0])
    result = cache.copy()
    result[start:stop] = new
    return result


def attention(
    query: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    position: np.ndarray,
    *,
    heads: int,
    kv_heads: int,
    multiplier: np.ndarray,
    shift: int,
    value_exponents: np.ndarray,
    exponents: np.ndarray,
    bits: int,
    window: int | None = None,
    softcap: int | None = None,
) -> np.ndarray:
    """Causal grouped-query attention: query [T, H*C], keys and values [M, G*C] -> [T, H*C]; `multiplier` [H]."""
    check_range(multiplier, 1, (1 << (MULTIPLIER_BITS - 1)) - 1, "multipliers")
    start, stop = _rows_seen(keys, position, query.shape[0])
    # BLAS, on float64: scores fit 32 bits (checked) and weighted sums 22 + log2(M) bits, so both are exact.
    q = query.astype(np.float64).reshape(query.shape[0], heads, -1)
    k, v = (rows[:stop].astype(np.float64).reshape(stop, kv_heads, -1) for rows in (keys, values))
    sums = np.empty(q.shape, np.int64)  # [T, H, C]
    weights = np.empty(q.shape[:2], np.int64)  # [T, H]
    step = max(1, GROUP_ELEMENTS // max(1, stop))
    for head in range(heads):
        group = head * kv_heads // heads
        for t in range(0, len(q), step):
            tokens = slice(t, min(t + step, len(q)))
            seen = start + tokens.stop
            scores = check_fits(q[tokens, head] @ k[:seen, group].T, SCORE_BITS, "score [token, row] ").astype(np.int64)
            away = start + np.arange(tokens.start, tokens.stop)[:, None] - np.arange(seen)
            hidden = (away < 0) | (away >= (window or seen))
            step, by = int(multiplier[head]), shift
            if softcap is not None:
                scores, step, by = tanh(round_shift(scores * step, by)), softcap, SOFTCAP_SHIFT
            largest = np.where(hidden, np.iinfo(np.int64).min, scores).max(axis=-1, keepdims=True)
            away = np.where(hidden, 0, largest - scores)
            p = np.where(hidden, 0, exp2_negative(round_shift(away * step, by)))
            weights[tokens, head] = p.sum(axis=-1)
            sums[tokens, head] = p.astype(np.float64) @ v[:seen, group]
    r, length = reciprocal(weights)
    # A query head's channels have the value exponents of its kv head.
    of_value = np.repeat(_channels(value_exponents).reshape(kv_heads, -1), heads // kv_heads, axis=0)
    away = of_value - _channels(exponents).reshape(heads, -1) - 15 - length[..., None]
    return saturate(rescale(sums * r[..., None], away), bits).reshape(query.shape)


def _channels(exponents: np.ndarray) -> np.ndarray:
    return np.repeat(exponents.astype(np.int64), 2)


def _rows_seen(cache: np.ndarray, position: np.ndarray, tokens: int) -> tuple[int, int]:
    """The rows of a cache that `tokens` new tokens take: first, and one after the last."""
    start = int(position[0])
    if start < 0 or start + tokens > len(cache):
        raise NumericsError(
            f"cache full: expected positions in 0..{len(cache) - 1}, got {start}..{start + tokens - 1}; "
            "shorten the text or compile with a longer context"
        )
    return start, start + tokens
