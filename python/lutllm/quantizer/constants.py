"""The integers of a model that are not in its linears: its float graph, its parameters, peaks and linears in, the
constants and arrays of norms, embeddings, attentions, sums and RoPE out.

Exponents come from the largest values seen. Where widths leave room (residual stream, norms, queries), a peak may grow
by a headroom before it saturates; the 8 bits of the KV cache have none to spare.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.errors import InputError
from lutllm.functions import SOFTCAP_SHIFT
from lutllm.lowering.quantize.graph import FloatGraph, name_of
from lutllm.quantization import (
    CACHE_BITS,
    NORM_BITS,
    QUERY_BITS,
    RESIDUAL_BITS,
    AddConstants,
    AttentionConstants,
    Constants,
    EmbeddingConstants,
    NormConstants,
    RopeConstants,
    TanhConstants,
)
from lutllm.quantizer.protocol import require_finite
from lutllm.scheme import MAX_SHIFT, QuantizedLinear

if TYPE_CHECKING:
    from lutllm.quantizer.observe.peaks import Peaks

STREAM_HEADROOM = 2.0  # of the residual stream and norms, which have bits to spare
QUERY_HEADROOM = 2.0
KEY_HEADROOM = 1.0  # measured on SmolLM2: half costs 3 % of perplexity, twice 0.5 %, this nothing
VALUE_HEADROOM = 1.4
EMBEDDING_BITS = 8
MULTIPLIER_LIMIT = (1 << 15) - 1
GAIN_LIMIT = (1 << 23) - 1
POSITIONS = 32768  # rows of RoPE tables at most
PAIR_SPAN = 12  # pairs quieter than a head's loudest by more than 2**12 share the finest exponent
SCORE_SPAN = 4  # heads whose scores are finer than the coarsest head's by more than 2**4 are made coarser
Arrays = dict[str, np.ndarray]


@dataclass
class QuantizedOps:
    """Constants by op name, and arrays by symbol."""

    constants: dict[str, Constants] = field(default_factory=dict)
    arrays: Arrays = field(default_factory=dict)

    def add(self, name: str, constants: Constants, arrays: Arrays) -> None:
        self.constants[name] = constants
        self.arrays |= {f"{name}.{part}": array for part, array in arrays.items()}


class OpQuantizer(ABC):
    """Finds the integers of every op of a graph that is no linear, in order: each needs the exponent of what it reads.

    `positions`: how many the model was made for; RoPE tables have at most `POSITIONS` rows.
    """

    def __init__(self, graph: FloatGraph, linears: Mapping[str, QuantizedLinear], positions: int) -> None:
        self.graph, self.linears, self.positions = graph, linears, min(positions, POSITIONS)
        self.made = QuantizedOps()
        self.tables: dict[tuple[str, float], str] = {}

    def run(self) -> QuantizedOps:
        exponents: dict[ir.Value, int] = {}  # of values with one for all channels
        for op in self.graph.ops:
            if isinstance(op, dialect.FloatLinearOp):
                exponents[op.y] = self.linears[name_of(op)].out_exponent
            elif isinstance(op, dialect.FloatRopeOp):
                exponents[op.y] = exponents[op.x]
                self.made.add(name_of(op), self._rope(op), {})
            elif isinstance(op, dialect.FloatSliceOp):
                exponents[op.y] = exponents[op.x]
            elif isinstance(op, dialect.FloatAttentionOp):
                self.made.add(name_of(op), *self.attention(op))
            elif not isinstance(op, dialect.FloatGatedOp):
                exponents[op.y] = self._with_exponent(op, exponents)
        return self.made

    def _with_exponent(self, op: Any, exponents: Mapping[ir.Value, int]) -> int:
        """The exponent of an op's result, whose constants say it."""
        constants: EmbeddingConstants | NormConstants | AddConstants | TanhConstants
        if isinstance(op, dialect.FloatEmbeddingOp):
            constants, arrays = self.embedding(op)
        elif isinstance(op, dialect.FloatNormOp):
            constants, arrays = self.norm(op, exponents[op.x])
        elif isinstance(op, dialect.FloatTanhOp):
            constants, arrays = quantize_tanh(float(op.scale.value)), {}
        else:
            constants, arrays = self.add(op), {}
        self.made.add(name_of(op), constants, arrays)
        return constants.exponent

    def _rope(self, op: dialect.FloatRopeOp) -> RopeConstants:
        """Ropes of the same frequencies and scale share a table."""
        symbol, scale = op.frequencies.value, float(op.scale.value)
        if (symbol, scale) not in self.tables:
            table = f"rope.{len(self.tables)}" if self.tables else "rope"
            self.tables[symbol, scale] = table
            pairs = int(op.number("rotated", op.x.type.shape[1] // int(op.heads.value))) // 2
            self.made.arrays |= rope_tables(table, self.frequencies(symbol, pairs), scale, self.positions)
        return RopeConstants(self.tables[symbol, scale], self.positions)

    @abstractmethod
    def embedding(self, op: Any) -> tuple[EmbeddingConstants, Arrays]:
        """Arrays by the last part of their symbol, here and below."""

    @abstractmethod
    def norm(self, op: Any, exponent: int) -> tuple[NormConstants, Arrays]:
        """Of a norm that reads a value of `exponent`."""

    @abstractmethod
    def add(self, op: Any) -> AddConstants: ...

    @abstractmethod
    def attention(self, op: Any) -> tuple[AttentionConstants, Arrays]: ...

    @abstractmethod
    def frequencies(self, symbol: str, pairs: int) -> np.ndarray:
        """Radians a position, [pairs]."""


class FromPeaks(OpQuantizer):
    """From PyTorch's parameters, by symbol, and the largest values seen. Weights that are no numbers are refused."""

    def __init__(
        self,
        graph: FloatGraph,
        linears: Mapping[str, QuantizedLinear],
        positions: int,
        parameters: Mapping[str, Any],
        peaks: Peaks,
    ) -> None:
        super().__init__(graph, linears, positions)
        self.parameters, self.peaks = parameters, peaks

    def embedding(self, op: Any) -> tuple[EmbeddingConstants, Arrays]:
        rows = floats(self.parameters, op.weight.value) * np.float32(op.number("scale", 1.0))
        constants, arrays = quantize_embedding(rows)
        if op.position is not None:
            constants = replace(constants, positions=min(self.positions, len(rows) - int(op.number("offset"))))
        return constants, arrays

    def norm(self, op: Any, exponent: int) -> tuple[NormConstants, Arrays]:
        peak, channels = self.peaks.norms[name_of(op)], op.x.type.shape[1] // int(op.groups.value)
        gain = floats(self.parameters, op.gain.value) + np.float32(op.number("offset", 0.0))
        bias = op.optional("bias")
        added = None if bias is None else floats(self.parameters, bias.value)
        return quantize_norm(channels, float(op.epsilon.value), gain, peak, exponent, added)

    def add(self, op: Any) -> AddConstants:
        return AddConstants(_exponent(self.peaks.adds[name_of(op)] * STREAM_HEADROOM, RESIDUAL_BITS))

    def attention(self, op: Any) -> tuple[AttentionConstants, Arrays]:
        seen = (self.peaks.channels[name_of(op), part] for part in ("query", "key", "value"))
        return quantize_attention(name_of(op), float(op.scale.value), *seen, softcap=op.number("softcap"))

    def frequencies(self, symbol: str, pairs: int) -> np.ndarray:
        return floats(self.parameters, symbol)


def check_parameters(graph: FloatGraph, parameters: Mapping[str, Any]) -> None:
    """Refuse weights of norms and embeddings that are no numbers, before any work."""
    for op in graph.ops:
        if isinstance(op, dialect.FloatNormOp):
            floats(parameters, op.gain.value)
            if (bias := op.optional("bias")) is not None:
                floats(parameters, bias.value)
        elif isinstance(op, dialect.FloatEmbeddingOp):
            floats(parameters, op.weight.value)


def floats(parameters: Mapping[str, Any], symbol: str) -> np.ndarray:
    """A parameter as float32, checked."""
    values = parameters[symbol].detach().float().numpy()
    require_finite(values, symbol)
    return values


def rope_tables(table: str, frequencies: np.ndarray, scale: float, positions: int) -> Arrays:
    """Cosines and sines int16 [positions, head_dim / 2] in units of 2**-14, halves rounded up.

    `frequencies` are radians a position.
    """
    angles = np.outer(np.arange(positions), frequencies.astype(np.float64))
    cosines, sines = (np.floor(f(angles) * scale * 2**14 + 0.5) for f in (np.cos, np.sin))
    if np.abs(cosines).max() > 32767 or np.abs(sines).max() > 32767:
        raise InputError(f"RoPE: expected cosines and sines below 2, got a scale of {scale}")
    return {f"{table}.cosines": cosines.astype(np.int16), f"{table}.sines": sines.astype(np.int16)}


def _exponent(peak: float, bits: int) -> int:
    """The finest at which `peak` is a signed integer of `bits` bits; 1.0 stands for a peak of nothing."""
    return math.ceil(math.log2((float(peak) or 1.0) / ((1 << (bits - 1)) - 1)))


def quantize_embedding(weight: np.ndarray) -> tuple[EmbeddingConstants, Arrays]:
    """Rows [V, D] as int8 with one scale each, whose multipliers have one exponent: nothing is shifted away."""
    limit = (1 << (EMBEDDING_BITS - 1)) - 1
    steps = np.abs(weight).max(axis=1).astype(np.float64) / limit
    exponent = _exponent(float(steps.max()), 16)
    multiplier = np.clip(np.ceil(steps * 2.0**-exponent), 1, MULTIPLIER_LIMIT)
    rows = np.floor(weight / (multiplier * 2.0**exponent)[:, None] + 0.5)
    arrays = {"rows": rows.astype(np.int8), "multiplier": multiplier.astype(np.int32)}
    return EmbeddingConstants(0, exponent), arrays


def quantize_norm(
    channels: int, epsilon: float, weight: np.ndarray, peak: float, exponent: int, bias: np.ndarray | None = None
) -> tuple[NormConstants, Arrays]:
    """`weight` and `bias` [channels] of a group, `peak` of the output, `exponent` of the input.

    No output is larger than sqrt(channels) times the largest weight, and the bias, so no more room is left than that.
    """
    added = 0.0 if bias is None else float(np.abs(bias).max())
    largest = math.sqrt(channels) * max(float(np.abs(weight).max()), 2.0**-20)
    out = _exponent(min(peak * STREAM_HEADROOM, largest + added) or largest, NORM_BITS)
    gain = math.sqrt(channels) * weight.astype(np.float64) * 2.0 ** (-22 - out)
    shift = int(np.clip(math.floor(math.log2(GAIN_LIMIT / float(largest * 2.0 ** (-22 - out)))), 0, MAX_SHIFT))
    squares = round(channels * epsilon * 2.0 ** (-2 * exponent))
    arrays = {"gain": np.rint(gain * 2.0**shift).astype(np.int32)}
    if bias is not None:
        arrays["bias"] = np.rint(bias.astype(np.float64) * 2.0**-out).astype(np.int32)
    return NormConstants(shift, squares, out), arrays


def quantize_attention(
    name: str,
    scale: float,
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    *,
    softcap: float | None = None,
) -> tuple[AttentionConstants, Arrays]:
    """From the peaks of channels: `query` [heads, head_dim] and `key` [kv_heads, head_dim] after RoPE, `value`.

    Keys and values get the finest exponents that fit the cache. The score of a head has one exponent: the finest at
    which all its queries fit, each query's own being the score's less the key's.
    """
    keys = _pair_exponents(key * KEY_HEADROOM, CACHE_BITS)
    values = _pair_exponents(value * VALUE_HEADROOM, CACHE_BITS)
    needed = _pair_exponents(query * QUERY_HEADROOM, QUERY_BITS)
    shared = np.repeat(keys, len(query) // len(key), axis=0)
    scores = (shared + needed).max(axis=1)
    scores = np.maximum(scores, scores.max() - SCORE_SPAN)
    queries = scores[:, None] - shared
    # A score becomes 16 fraction bits in log2, or twice its part of the cap 12 fraction bits.
    factor = np.exp2(scores + 16.0) * scale / math.log(2)
    if softcap is not None:
        factor = np.exp2(scores + 13.0) * scale / softcap
    shift = int(np.clip(math.floor(math.log2(MULTIPLIER_LIMIT / factor.max())), 0, MAX_SHIFT))
    multiplier = np.rint(factor * 2.0**shift)
    if multiplier.max() > MULTIPLIER_LIMIT or multiplier.min() < 1 or np.abs(queries).max() > 127:
        raise InputError(
            f"'{name}': expected scores whose steps lie between 2**-47 and 1/2, got 2**{scores.min()} to "
            f"2**{scores.max()}; check the weights of its queries and keys"
        )
    parts = {"query": queries, "key": keys, "value": values}
    arrays = {f"{part}.exponents": exponents.reshape(-1).astype(np.int8) for part, exponents in parts.items()}
    capped = 0 if softcap is None else max(1, round(softcap * 2.0 ** (16 + SOFTCAP_SHIFT - 14) / math.log(2)))
    return AttentionConstants(shift, softcap=capped), {**arrays, "multiplier": multiplier.astype(np.int32)}


def quantize_tanh(scale: float) -> TanhConstants:
    """Its result, at most `scale`, has all the bits there are."""
    exponent = _exponent(scale, RESIDUAL_BITS)
    factor = scale * 2.0 ** (-14 - exponent)
    shift = max(0, math.floor(math.log2(MULTIPLIER_LIMIT / factor)))
    return TanhConstants(round(factor * 2.0**shift), shift, exponent)


def _pair_exponents(peak: np.ndarray, bits: int) -> np.ndarray:
    """int64 [heads, head_dim / 2]: the finest exponents at which adjacent channels' peaks [heads, head_dim] fit; 1.0
    stands for the peak of a head that is zero."""
    pairs = peak.reshape(len(peak), -1, 2).max(axis=2).astype(np.float64)
    loudest = pairs.max(axis=1, keepdims=True)
    floor = np.where(loudest > 0, loudest, 1.0) * 2.0**-PAIR_SPAN
    return np.ceil(np.log2(np.maximum(pairs, floor) / ((1 << (bits - 1)) - 1))).astype(np.int64)
