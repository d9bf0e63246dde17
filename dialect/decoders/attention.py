"""Grouped-query attention over a KV cache: `lut.rope`, `lut.append`, `lut.attention`.

One leading dimension T of tokens; a cache has M rows, one for each position. The first token is at `position`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lutllm.bindings import ext, ir
from lutllm.dialect.base import LutOp, expect, integer
from lutllm.dialect.decoders.ops import MAX_SIZE, ceil_log2
from lutllm.dialect.linears import parameters
from lutllm.dialect.linears.parameters import Parameter
from lutllm.dialect.shapes import divides, same, typed
from lutllm.scheme import MAX_SHIFT

SCORE_BITS = 32
MAX_SOFTCAP = (1 << 31) - 1
MAX_ROWS = 1 << 20  # of a cache: weighted sums times a reciprocal then fit 58 bits


class RopeOp(LutOp, name="rope", traits=[ext.Pure]):
    """Rotary position embedding, the halves of each head of C channels rotated against each other.

    The tables have 14 fraction bits. A position outside 0..positions-1 is an error. With `rotated` only so many
    channels at the start of each head are, C stands for these; `interleaved` pairs channels 2i and 2i + 1 instead.
    """

    x: ext.Operand[ir.RankedTensorType]
    position: ext.Operand[ir.RankedTensorType]
    heads: ir.IntegerAttr
    positions: ir.IntegerAttr
    cosines: ir.FlatSymbolRefAttr
    sines: ir.FlatSymbolRefAttr
    y: ext.Result[ir.RankedTensorType]

    TYPES = {  # noqa: RUF012
        "x": "tensor<TxKxi32, #lut.fixed<...>>",
        "position": "tensor<1xi32>",
        "y": "tensor<TxKxi32, #lut.fixed<...>>",
    }
    OPTIONAL = {"rotated": ir.IntegerAttr, "interleaved": ir.UnitAttr}  # noqa: RUF012
    DEFINITION = """
p = position + t; in each head, for i < C / 2:
y[t, i]         = clamp(round_shift(x[t, i] * cosines[p, i] - x[t, i + C / 2] * sines[p, i], 14), bits)
y[t, i + C / 2] = clamp(round_shift(x[t, i + C / 2] * cosines[p, i] + x[t, i] * sines[p, i], 14), bits)"""
    EXAMPLE = """
func.func @rope(%x: tensor<?x8xi32, #n>, %position: tensor<1xi32>) -> tensor<?x8xi32, #n> {
  %0 = "lut.rope"(%x, %position) {heads = 2, positions = 16, cosines = @rope.cosines, sines = @rope.sines}
      : (tensor<?x8xi32, #n>, tensor<1xi32>) -> tensor<?x8xi32, #n>
  return %0 : tensor<?x8xi32, #n>
}"""

    def check(self) -> None:
        sizes = typed(self).sizes
        expect(self.x.type == self.y.type, f"y to have the type of x, {self.x.type}", self.y.type, "change the type")
        check_rotated(self, sizes["K"])
        positions = integer(self.positions, "positions", 1, MAX_SIZE)
        _fits_rows(sizes["T"], positions, "positions")

    def parameters(self) -> list[Parameter]:
        channels = check_rotated(self, typed(self).sizes["K"])
        spec = parameters.rotations(int(self.positions.value), channels // 2)
        return [parameters.parameter(name, self.attributes[name], spec) for name in ("cosines", "sines")]


class AppendOp(LutOp, name="append", traits=[ext.Pure]):
    """The cache with the new rows at their positions. Rows beyond the cache are an error: it is full."""

    cache: ext.Operand[ir.RankedTensorType]
    new: ext.Operand[ir.RankedTensorType]
    position: ext.Operand[ir.RankedTensorType]
    y: ext.Result[ir.RankedTensorType]

    TYPES = {  # noqa: RUF012
        "cache": "tensor<MxKxi8/i16, #lut.fixed<...>>",
        "new": "tensor<TxKxi8/i16, #lut.fixed<...>>",
        "position": "tensor<1xi32>",
        "y": "tensor<MxKxi8/i16, #lut.fixed<...>>",
    }
    DEFINITION = "y[j] = new[j - position] for position <= j < position + T, else cache[j]"
    EXAMPLE = """
func.func @append(%cache: tensor<16x4xi8, #k>, %new: tensor<?x4xi8, #k>, %position: tensor<1xi32>)
    -> tensor<16x4xi8, #k> {
  %0 = "lut.append"(%cache, %new, %position)
      : (tensor<16x4xi8, #k>, tensor<?x4xi8, #k>, tensor<1xi32>) -> tensor<16x4xi8, #k>
  return %0 : tensor<16x4xi8, #k>
}"""

    def check(self) -> None:
        sizes, bits, exponents = typed(self)
        wanted = self.cache.type
        expect(wanted == self.y.type, f"y to have the type of cache, {wanted}", self.y.type, "change the type")
        same("bits of new", bits["cache"], bits["new"], "change the type")
        same("exponents of new", f"@{exponents['cache']}", f"@{exponents['new']}", "change the type")
        _fits_rows(sizes["T"], sizes["M"], "rows of cache")


class AttentionOp(LutOp, name="attention", traits=[ext.Pure]):
    """Causal grouped-query attention: query head h of C channels reads head h * kv_heads / heads of keys and values.

    The multiplier of a head and `shift` bring a difference of scores to 16 fraction bits in log2. For this the
    exponents of query and keys must add up to one number over the channels of a head; the store check and the
    interpreter see to it. exp2_negative and reciprocal are in docs/numerics.md. With a `window` a token sees itself and
    the window - 1 tokens before it. With a `softcap` the multiplier brings twice a score, in units of the cap, to 12
    fraction bits, and softcap * 2**-8 a step of tanh, whose 2**14 are one, to 16 fraction bits in log2.
    """

    query: ext.Operand[ir.RankedTensorType]
    keys: ext.Operand[ir.RankedTensorType]
    values: ext.Operand[ir.RankedTensorType]
    position: ext.Operand[ir.RankedTensorType]
    heads: ir.IntegerAttr
    kv_heads: ir.IntegerAttr
    multiplier: ir.FlatSymbolRefAttr
    shift: ir.IntegerAttr
    y: ext.Result[ir.RankedTensorType]

    TYPES = {  # noqa: RUF012
        "query": "tensor<TxKxi16, #lut.fixed<...>>",
        "keys": "tensor<MxK_kvxi8, #lut.fixed<...>>",
        "values": "tensor<MxK_kvxi8, #lut.fixed<...>>",
        "position": "tensor<1xi32>",
        "y": "tensor<TxKxi16, #lut.fixed<...>>",
    }
    OPTIONAL = {"window": ir.IntegerAttr, "softcap": ir.IntegerAttr}  # noqa: RUF012
    DEFINITION = """
for each token t and head, with q, k, v the head's channels and j = max(0, position + t - window + 1) .. position + t:
s[j] = q[t] . k[j]                                                        (32 bits)
p[j] = exp2_negative(round_shift((max s - s[j]) * multiplier[head], shift))
with a softcap: u[j] = tanh(round_shift(s[j] * multiplier[head], shift))
p[j] = exp2_negative(round_shift((max u - u[j]) * softcap, 8))
(r, L) = reciprocal(sum_j p[j])
y[t, c] = clamp(rescale((sum_j p[j] * v[j, c]) * r, exponent of v - exponents of y[c / 2] - 15 - L), bits)"""
    EXAMPLE = """
func.func @attention(%query: tensor<?x8xi16, #q>, %keys: tensor<16x4xi8, #k>, %values: tensor<16x4xi8, #v>,
    %position: tensor<1xi32>) -> tensor<?x8xi16, #x> {
  %0 = "lut.attention"(%query, %keys, %values, %position) {heads = 4, kv_heads = 2, multiplier = @a.multiplier,
      shift = 20}
      : (tensor<?x8xi16, #q>, tensor<16x4xi8, #k>, tensor<16x4xi8, #v>, tensor<1xi32>) -> tensor<?x8xi16, #x>
  return %0 : tensor<?x8xi16, #x>
}"""

    def check(self) -> None:
        sizes, bits, _ = typed(self)
        integer(self.shift, "shift", 0, MAX_SHIFT)
        channels = check_heads(self, sizes)
        check_window(self)
        if (softcap := self.optional("softcap")) is not None:
            integer(softcap, "softcap", 1, MAX_SOFTCAP)
        expect(channels % 2 == 0, "an even number of channels in a head", channels, "change heads")
        rows = sizes["M"]
        expect(rows <= MAX_ROWS, f"at most {MAX_ROWS} rows of keys", rows, "compile with a shorter context")
        _fits_rows(sizes["T"], rows, "rows of keys")
        width = bits["query"] + bits["keys"] - 1 + ceil_log2(channels)
        expect(width <= SCORE_BITS, f"scores to fit {SCORE_BITS} bits", width, "give query or keys fewer bits")

    def parameters(self) -> list[Parameter]:
        spec = parameters.per_output(int(self.heads.value))
        return [parameters.parameter("multiplier", self.multiplier, spec)]


def check_heads(op: LutOp, sizes: Mapping[str, Any]) -> int:
    """The channels of a head of an attention's query, and so of its keys."""
    heads, kv_heads = (integer(op.attributes[name], name, 1, MAX_SIZE) for name in ("heads", "kv_heads"))
    divides("kv_heads", kv_heads, heads, "heads")
    channels = divides("heads", heads, sizes["K"], "the channels of query")
    wanted = kv_heads * channels
    same("channels of keys, in heads as wide as those of query,", wanted, sizes["K_kv"], "change the type")
    return channels


def check_rotated(op: LutOp, width: int) -> int:
    """How many channels of each head RoPE rotates."""
    heads = integer(op.attributes["heads"], "heads", 1, MAX_SIZE)
    channels = divides("heads", heads, width, "the channels of x")
    if (rotated := op.optional("rotated")) is not None:
        channels = integer(rotated, "rotated", 2, channels - 1)
    expect(channels % 2 == 0, "an even number of rotated channels in a head", channels, "change it")
    return channels


def check_window(op: LutOp) -> None:
    if (window := op.optional("window")) is not None:
        integer(window, "window", 1, MAX_SIZE)


def score_problem(query: np.ndarray, keys: np.ndarray, heads: int, kv_heads: int) -> str | None:
    """What is wrong with the exponents of query and keys, None where each head's products have one exponent."""
    of_keys = np.repeat(keys.astype(np.int64).reshape(kv_heads, -1), heads // kv_heads, axis=0)
    sums = query.astype(np.int64).reshape(heads, -1) + of_keys
    bad = np.flatnonzero((sums != sums[:, :1]).any(axis=1))
    if not bad.size:
        return None
    got = f"{int(sums[bad[0]].min())}..{int(sums[bad[0]].max())}"
    return f"expected exponents of query and keys to add up to one number in head {bad[0]}, got {got}; quantize again"


def _fits_rows(tokens: int | None, rows: int, what: str) -> None:
    if tokens is not None:
        expect(tokens <= rows, f"at most {rows} tokens ({what})", tokens, "change the type")
