"""The integer functions and ops against the real ones they stand for: how far apart they get, and how far they may.

Every op's `*_real` gives the float64 result and a bound on the distance, in units of the result's last place; the table
of docs/numerics.md comes from here, and tests hold the interpreter to the bounds on other inputs.
"""

from collections.abc import Callable, Iterator

import numpy as np

from lutllm import functions
from lutllm.interpreter import decoder, integers, layer
from lutllm.quantizer.random.linear import random_linear
from lutllm.scheme import NAMED_SCHEMES, QuantizedLinear

# Largest errors, rounded up; `function_errors` measures them.
RSQRT_ERROR, RECIPROCAL_ERROR = 4.8e-5, 6.2e-5  # relative
EXP2_ERROR, SIGMOID_ERROR = 4.0e-5, 3.9e-5  # absolute
WEIGHT_ERROR = EXP2_ERROR + np.log(2) * 2.0**-17  # of a softmax weight: exp2, and its argument rounded
GATE_ERROR = SIGMOID_ERROR + 2.0**-13 / 4  # sigmoid, and its argument rounded, where it is steepest

Real = tuple[np.ndarray, np.ndarray]  # result, bound


def function_errors() -> dict[str, float]:
    """The largest error of each function over all its arguments.

    rsqrt and reciprocal depend on the 16 leading bits alone, so both ends of each interval of these are all there is.
    """
    top = np.arange(1 << 14, 1 << 16)
    r, _ = functions.rsqrt(top << 16)
    rsqrt = [r * 2.0**-31 * np.sqrt(a) - 1 for a in (top * 2.0**16, top * 2.0**16 + 65535)]
    top = np.arange(1 << 15, 1 << 16)
    r, _ = functions.reciprocal(top)
    reciprocal = [r * 2.0**-31 * p - 1 for p in (top, top + 1.0)]
    t = np.arange(18 << 16)
    exp2 = functions.exp2_negative(t) * 2.0**-15 - np.exp2(-t * 2.0**-16)
    a = np.arange(functions.SIGMOID_END + 1)
    sigmoid = functions.share(a) * 2.0**-15 - 1 / (1 + np.exp(-a * 2.0**-12))
    errors = {"rsqrt": rsqrt, "reciprocal": reciprocal, "exp2_negative": [exp2], "sigmoid": [sigmoid]}
    return {name: max(float(np.abs(e).max()) for e in each) for name, each in errors.items()}


def embedding_real(ids: np.ndarray, rows: np.ndarray, multiplier: np.ndarray, shift: int) -> Real:
    y = rows[ids] * (multiplier[ids] * 2.0**-shift)[:, None]
    return y, np.full(y.shape, 0.5)


def rms_norm_real(x: np.ndarray, gain: np.ndarray, groups: int, epsilon: int, shift: int) -> Real:
    grouped = x.reshape(*x.shape[:-1], groups, -1).astype(np.float64)
    root = np.sqrt(np.maximum(1, np.square(grouped).sum(axis=-1, keepdims=True) + epsilon))
    scale = np.broadcast_to(gain * 2.0**-shift, grouped.shape)
    y = grouped / root * 2.0**22 * scale
    return y.reshape(x.shape), (np.abs(y) * RSQRT_ERROR + np.abs(scale) / 2 + 0.5).reshape(x.shape)


def add_real(a: np.ndarray, b: np.ndarray, a_shift: int, b_shift: int) -> Real:
    y = a * 2.0**a_shift + b * 2.0**b_shift
    return y, np.full(y.shape, (a_shift < 0) / 2 + (b_shift < 0) / 2)


def rescale_real(x: np.ndarray, exponent: int, exponents: np.ndarray) -> Real:
    y = x * np.exp2(float(exponent) - np.repeat(exponents, 2))
    return y, np.full(y.shape, 0.5)


def swiglu_real(gate: np.ndarray, up: np.ndarray, gate_exponent: int, up_exponent: int, exponents: np.ndarray) -> Real:
    scale = np.exp2(float(gate_exponent) + up_exponent - np.repeat(exponents, 2))
    silu = gate / (1 + np.exp(np.minimum(-gate * 2.0**gate_exponent, 700)))  # e**700 is still finite
    return silu * up * scale, (np.abs(gate) * GATE_ERROR + 0.5) * np.abs(up) * scale + 0.5


def rope_real(x: np.ndarray, position: int, heads: int, frequencies: np.ndarray) -> Real:
    low, high = np.moveaxis(x.reshape(x.shape[0], heads, 2, -1).astype(np.float64), 2, 0)
    angles = (position + np.arange(x.shape[0]))[:, None, None] * frequencies
    cos, sin = np.cos(angles), np.sin(angles)
    y = np.stack((low * cos - high * sin, high * cos + low * sin), axis=2)
    bound = np.stack([(np.abs(low) + np.abs(high)) * 2.0**-15 + 0.5] * 2, axis=2)
    return y.reshape(x.shape), bound.reshape(x.shape)


def attention_real(
    query: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    position: int,
    *,
    heads: int,
    kv_heads: int,
    multiplier: np.ndarray,
    shift: int,
    value_exponents: np.ndarray,
    exponents: np.ndarray,
) -> Real:
    tokens = query.shape[0]
    seen = position + tokens
    of_head = np.arange(heads) * kv_heads // heads
    q = query.reshape(tokens, heads, -1).astype(np.float64)
    k, v = (rows[:seen].reshape(seen, kv_heads, -1).astype(np.float64)[:, of_head] for rows in (keys, values))
    scores = np.einsum("thc,jhc->thj", q, k) * (multiplier * 2.0 ** -(shift + 16))[:, None]
    visible = np.arange(seen) <= position + np.arange(tokens)[:, None, None]
    scores = np.where(visible, scores, -np.inf)
    p = np.exp2(scores - scores.max(axis=-1, keepdims=True))
    total = p.sum(axis=-1, keepdims=True)  # [T, H, 1]
    mean = np.einsum("thj,jhc->thc", p, v) / total
    spread = np.where(visible[..., None], np.abs(v.transpose(1, 0, 2) - mean[:, :, None]), 0).max(axis=2)
    count = visible.sum(axis=-1, keepdims=True)
    off = WEIGHT_ERROR * count * spread / np.maximum(1, total - WEIGHT_ERROR * count)
    per_value = np.repeat(value_exponents, 2).reshape(kv_heads, -1)[of_head].astype(np.float64)
    scale = np.exp2(per_value - np.repeat(exponents, 2).reshape(heads, -1))
    bound = (off + (np.abs(mean) + off) * RECIPROCAL_ERROR) * scale + 0.5
    return (mean * scale).reshape(query.shape), bound.reshape(query.shape)


def linear_real(q: QuantizedLinear, x: np.ndarray) -> Real:
    """Against exact products of the activation (or its centroids) with the weights' centroids."""
    a, pair = x.reshape(*x.shape[:-1], -1, 2).astype(np.float64), np.arange(q.pairs)
    if q.codebook is not None:
        indices = integers.centroid_search(x, q.codebook, q.scheme.metric)
        a = sum(q.codebook[pair, s, indices[..., s]].astype(np.float64) for s in range(q.scheme.S))
    output = np.arange(q.outputs)
    w = sum(
        q.weight_codebook[pair[:, None], output // q.scheme.G, r, q.codes[:, r]].astype(np.float64)
        for r in range(q.scheme.R)
    )
    right, left = q.shifts.astype(np.int64).T
    acc = np.einsum("tpv,pov,p->to", a, w, np.exp2(left - right)) + q.bias
    off = (np.exp2(left - 1.0) * (right > 0)).sum() * q.scheme.R * max(1, q.scheme.S)
    scale = q.multiplier * 2.0**-q.shift
    most = 1 << (q.scheme.out_bits - 1)
    return np.clip(acc * scale, -most, most - 1), np.broadcast_to(off * scale + 0.5, acc.shape)


def op_errors() -> Iterator[tuple[str, str, float, float, float]]:
    """Op, its inputs, its largest error in units and relative to the largest result, the largest share of its bound."""
    for op, (inputs, measure) in OPS.items():
        got, (wanted, bound) = measure(np.random.default_rng(0))
        away = np.abs(got - wanted)
        share = float((away / np.maximum(bound, 1e-9)).max())
        yield op, inputs, float(away.max()), float(away.max() / np.abs(wanted).max()), share


Measure = Callable[[np.random.Generator], tuple[np.ndarray, Real]]


def _embedding(rng: np.random.Generator) -> tuple[np.ndarray, Real]:
    rows, multiplier = rng.integers(-127, 128, (64, 256)), rng.integers(1 << 14, 1 << 15, 64)
    operands = np.arange(64), rows, multiplier, 4
    return decoder.embedding(*operands, 26), embedding_real(*operands)


def _rms_norm(rng: np.random.Generator) -> tuple[np.ndarray, Real]:
    x = np.rint(rng.standard_t(3, (64, 576)) * 2.0**14).astype(np.int64)
    operands = x, rng.integers(1 << 21, 1 << 23, 576), 1, 400_000, 19
    return decoder.rms_norm(*operands, 28), rms_norm_real(*operands)


def _add(rng: np.random.Generator) -> tuple[np.ndarray, Real]:
    operands = rng.integers(-(1 << 22), 1 << 22, (64, 256)), rng.integers(-(1 << 22), 1 << 22, (64, 256)), 0, -3
    return decoder.add(*operands, 26), add_real(*operands)


def _rescale(rng: np.random.Generator) -> tuple[np.ndarray, Real]:
    operands = rng.integers(-(1 << 22), 1 << 22, (64, 256)), -20, rng.integers(-13, -8, 128)
    return decoder.rescale_channels(*operands, 16), rescale_real(*operands)


def _swiglu(rng: np.random.Generator) -> tuple[np.ndarray, Real]:
    gate, up = (np.rint(rng.standard_t(4, (64, 256)) * 2.0**14).astype(np.int64) for _ in range(2))
    operands = gate, up, -14, -14, np.full(128, -9)
    return decoder.swiglu(*operands, 16), swiglu_real(*operands)


def _rope(rng: np.random.Generator) -> tuple[np.ndarray, Real]:
    frequencies = 10000.0 ** (-np.arange(32) / 32)
    angles = np.arange(600)[:, None] * frequencies
    cosines, sines = (np.floor(f(angles) * 2**14 + 0.5).astype(np.int64) for f in (np.cos, np.sin))
    x = np.rint(rng.standard_normal((512, 128)) * 2.0**12).astype(np.int64)
    return decoder.rope(x, np.array([88]), 2, cosines, sines, 24), rope_real(x, 88, 2, frequencies)


def _attention(rng: np.random.Generator) -> tuple[np.ndarray, Real]:
    query = np.rint(rng.standard_normal((64, 4 * 64)) * 4000).astype(np.int64)
    keys, values = (np.clip(np.rint(rng.standard_normal((512, 2 * 64)) * 32), -128, 127) for _ in range(2))
    # One standard deviation of a score is 2 in log2.
    multiplier = np.full(4, round(2 / (4000 * 32 * 8) * 2**33))
    options = {"heads": 4, "kv_heads": 2, "multiplier": multiplier, "shift": 17}
    options |= {"value_exponents": np.full(64, -5), "exponents": np.full(128, -14)}
    caches = keys.astype(np.int64), values.astype(np.int64)
    got = decoder.attention(query, *caches, np.array([448]), **options, bits=16)  # type: ignore[arg-type]
    return got, attention_real(query, *caches, 448, **options)  # type: ignore[arg-type]


def _linear(name: str) -> Measure:
    def measure(rng: np.random.Generator) -> tuple[np.ndarray, Real]:
        q = random_linear(256, 128, NAMED_SCHEMES[name], seed=0)
        x = rng.integers(-30000, 30001, (64, 256))
        return layer.linear(q, x), linear_real(q, x)

    return measure


OPS: dict[str, tuple[str, Measure]] = {
    "`lut.linear`, `paper`": ("random, 256 to 128 channels, 24 bits", _linear("paper")),
    "`lut.linear`, `additive`": ("random, 256 to 128 channels, 24 bits", _linear("additive")),
    "`lut.linear`, `exact`": ("random, 256 to 128 channels, 24 bits", _linear("exact")),
    "`lut.embedding`": ("64 tokens, 256 channels", _embedding),
    "`lut.rms_norm`": ("576 channels from Student's t (3), 64 tokens", _rms_norm),
    "`lut.add`": ("uniform, one term shifted right", _add),
    "`lut.rescale`": ("uniform, to 16 bits", _rescale),
    "`lut.swiglu`": ("Student's t (4), to 2**-9", _swiglu),
    "`lut.rope`": ("positions 88 to 599, heads of 64", _rope),
    "`lut.attention`": ("64 tokens over 449 to 512 rows, heads of 64, to 2**-14", _attention),
}
