"""What every float op computes, one function each: arrays of any float type in, float32 out. T tokens, K channels.

Sums are numpy's in float32, as PyTorch's are; what PyTorch computes in other orders differs by roundings only.
"""

import math

import numpy as np

from lutllm.numerics import check_range

GROUP_ELEMENTS = 1 << 22  # scores at a time; bounds memory, never changes a result


def embedding(ids: np.ndarray, weight: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """The row of each token, times a scale: ids [T], weight [V, K] -> [T, K]."""
    check_range(ids, 0, len(weight) - 1, "token ids", "use the tokenizer of this model")
    return weight[ids].astype(np.float32) * np.float32(scale)


def norm(
    x: np.ndarray,
    gain: np.ndarray,
    epsilon: float,
    groups: int,
    offset: float = 0.0,
    kind: str = "rms",
    bias: np.ndarray | None = None,
) -> np.ndarray:
    """Each group of channels divided by its root mean square: x [T, K], gain and bias [K / groups] -> [T, K]."""
    grouped = x.reshape(len(x), groups, -1)
    if kind == "layer":
        grouped = grouped - grouped.mean(axis=-1, keepdims=True, dtype=np.float32)
    mean = np.square(grouped).mean(axis=-1, keepdims=True, dtype=np.float32)
    normed = grouped / np.sqrt(mean + np.float32(epsilon))
    y = normed * (gain.astype(np.float32) + np.float32(offset))
    return (y if bias is None else y + bias.astype(np.float32)).reshape(x.shape)


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, scale: float = 1.0) -> np.ndarray:
    """x [T, K], weight [N, K], bias [N] -> [T, N]."""
    y = x @ weight.astype(np.float32, copy=False).T
    return (y if bias is None else y + bias.astype(np.float32)) * np.float32(scale)


def rope(
    x: np.ndarray, position: np.ndarray, frequencies: np.ndarray, heads: int, scale: float, interleaved: bool = False
) -> np.ndarray:
    """The channels of a pair rotated by its angle and the token's position: x [T, K] -> [T, K].

    Angles are rounded to float32 before their cosines are taken, as PyTorch does it.
    """
    positions = int(position[0]) + np.arange(len(x))
    angles = np.outer(positions.astype(np.float32), frequencies.astype(np.float32))[:, None]
    cos, sin = np.cos(angles) * np.float32(scale), np.sin(angles) * np.float32(scale)
    result = x.reshape(len(x), heads, -1).copy()
    first, second = rotation_pairs(len(frequencies), interleaved)
    low, high = result[..., first], result[..., second]
    result[..., first], result[..., second] = low * cos - high * sin, high * cos + low * sin
    return result.reshape(x.shape)


def rotation_pairs(pairs: int, interleaved: bool) -> tuple[slice, slice]:
    """The channels of a head that RoPE rotates against each other: first and second of each pair."""
    if interleaved:
        return slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
    return slice(0, pairs), slice(pairs, 2 * pairs)


def slice_channels(x: np.ndarray, groups: int, start: int, channels: int) -> np.ndarray:
    """From `start` on so many channels of all groups together as y has: x [T, K] -> [T, channels]."""
    grouped = x.reshape(len(x), groups, -1)
    return grouped[..., start : start + channels // groups].reshape(len(x), channels)


def attention(
    query: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    heads: int,
    kv_heads: int,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
) -> np.ndarray:
    """Causal grouped-query attention: query [T, H*C], keys and values [T, G*C] -> [T, H*C]."""
    q = query.reshape(len(query), heads, -1)
    k, v = (x.reshape(len(x), kv_heads, -1) for x in (keys, values))
    result = np.empty_like(q)
    step = max(1, GROUP_ELEMENTS // max(1, len(q)))
    for head in range(heads):
        group = head * kv_heads // heads
        for t in range(0, len(q), step):
            tokens = slice(t, min(t + step, len(q)))
            scores = (q[tokens, head] @ k[: tokens.stop, group].T) * np.float32(scale)
            if softcap is not None:
                scores = np.float32(softcap) * np.tanh(scores / np.float32(softcap))
            away = np.arange(t, tokens.stop)[:, None] - np.arange(tokens.stop)
            scores[(away < 0) | (away >= (window or tokens.stop))] = -np.inf
            p = np.exp(scores - scores.max(axis=-1, keepdims=True))
            result[tokens, head] = p / p.sum(axis=-1, keepdims=True) @ v[: tokens.stop, group]
    return result.reshape(query.shape)


def silu(x: np.ndarray) -> np.ndarray:
    """x / (1 + exp(-x)), without an overflow where x is far below zero."""
    away = np.exp(-np.abs(x))
    return x * np.where(x < 0, away, np.float32(1)) / (1 + away)


def gelu(x: np.ndarray) -> np.ndarray:
    """x times the normal distribution function."""
    return (x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))).astype(np.float32)


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    """What Hendrycks and Gimpel (arXiv 1606.08415) approximate it by."""
    return x * np.float32(0.5) * (1 + np.tanh(np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x**3)))


ACTIVATIONS = {"silu": silu, "gelu": gelu, "gelu_tanh": gelu_tanh, "relu": lambda x: np.maximum(x, 0)}


def gated(gate: np.ndarray, up: np.ndarray | None, activation: str) -> np.ndarray:
    """The activation of the gate, times up where there is one: [T, K]."""
    active = ACTIVATIONS[activation](gate)
    return active if up is None else active * up


def add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The sum: [T, K]."""
    return a + b
