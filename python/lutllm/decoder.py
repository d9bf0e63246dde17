"""LEGACY, to be deleted with `DecoderSpec`.

A decoder-only language model as plain data: its structure, and the integers of everything that is not a linear.

`Decoder` says what the model is made of, by PyTorch module path; raising PyTorch's IR gives it. `QuantizedDecoder` adds
the integers, and `lutllm.lowering` makes a `lut` program of it. Arrays are named by symbol, as in the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lutllm.errors import InputError
from lutllm.quantization import CACHE_BITS, NORM_BITS, QUERY_BITS, RESIDUAL_BITS  # noqa: F401
from lutllm.scheme import QuantizedLinear

COSINES, SINES = "rope.cosines", "rope.sines"


@dataclass(frozen=True)
class Norm:
    """An RMSNorm at module path `name`: `channels` in `groups` equal groups, each normalised by itself."""

    name: str
    channels: int
    epsilon: float
    groups: int = 1


@dataclass(frozen=True)
class Attention:
    """Grouped-query attention at module path `name`. `scale` multiplies the scores before softmax."""

    name: str
    heads: int
    kv_heads: int
    head_dim: int
    scale: float
    query: str
    key: str
    value: str
    output: str
    query_norm: Norm | None = None
    key_norm: Norm | None = None


@dataclass(frozen=True)
class Layer:
    """One decoder layer at module path `name`; the linears are named by module path. `intermediate` channels lie
    between gate, up and down."""

    name: str
    input_norm: Norm
    attention: Attention
    mlp_norm: Norm
    gate: str
    up: str
    down: str
    intermediate: int

    @property
    def linears(self) -> tuple[str, ...]:
        a = self.attention
        return (a.query, a.key, a.value, a.output, self.gate, self.up, self.down)

    @property
    def norms(self) -> tuple[Norm, ...]:
        own = (self.input_norm, self.attention.query_norm, self.attention.key_norm, self.mlp_norm)
        return tuple(norm for norm in own if norm is not None)


@dataclass(frozen=True)
class Decoder:
    """The whole model. `embedding` and `head` are module paths (they may share one weight); `inverse_frequencies` of
    RoPE are radians a position, head_dim / 2 of them, and `rope_scale` multiplies its cosines and sines."""

    embedding: str
    layers: tuple[Layer, ...]
    final_norm: Norm
    head: str
    vocabulary: int
    hidden: int
    inverse_frequencies: tuple[float, ...]
    rope_scale: float = 1.0

    @property
    def linears(self) -> tuple[str, ...]:
        """Every linear by name, the head last."""
        return (*(name for layer in self.layers for name in layer.linears), self.head)

    @property
    def norms(self) -> tuple[Norm, ...]:
        return (*(norm for layer in self.layers for norm in layer.norms), self.final_norm)

    @property
    def residuals(self) -> tuple[str, ...]:
        """The names of the residual stream after each attention and each MLP, in order."""
        return tuple(f"{layer.name}.{part}" for layer in self.layers for part in ("attention", "mlp"))

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping) -> Decoder:
        """The inverse of `to_dict`; KeyError or TypeError where a field is missing or unknown."""
        return cls(
            **{
                **values,
                "layers": tuple(_layer(layer) for layer in values["layers"]),
                "final_norm": Norm(**values["final_norm"]),
                "inverse_frequencies": tuple(values["inverse_frequencies"]),
            }
        )


def _layer(values: Mapping) -> Layer:
    attention = dict(values["attention"])
    for key in ("query_norm", "key_norm"):
        attention[key] = None if attention[key] is None else Norm(**attention[key])
    norms = {key: Norm(**values[key]) for key in ("input_norm", "mlp_norm")}
    return Layer(**{**values, **norms, "attention": Attention(**attention)})


@dataclass
class QuantizedEmbedding:
    """`rows` int8 [V, D], `multiplier` int32 [V] (1 .. 2**15 - 1): a token's row is
    round_shift(rows * multiplier, shift) * 2**exponent."""

    name: str
    rows: np.ndarray
    multiplier: np.ndarray
    shift: int
    exponent: int

    def tensors(self) -> dict[str, np.ndarray]:
        return {f"{self.name}.rows": self.rows, f"{self.name}.multiplier": self.multiplier}


@dataclass
class QuantizedNorm:
    """`gain` int32 [channels / groups], |gain| < 2**23; the output is NORM_BITS wide at 2**exponent."""

    name: str
    gain: np.ndarray
    gain_shift: int
    epsilon: int
    exponent: int

    def tensors(self) -> dict[str, np.ndarray]:
        return {f"{self.name}.gain": self.gain}


@dataclass
class QuantizedAttention:
    """Exponents int8, one for each pair of channels: `query` [heads * head_dim / 2], `key` and `value`
    [kv_heads * head_dim / 2]. `multiplier` int32 [heads] and `shift` bring score differences to units of 2**-16 in
    log2; the exponents of query and key of one channel add up to the same number in a whole head."""

    name: str
    query_exponents: np.ndarray
    key_exponents: np.ndarray
    value_exponents: np.ndarray
    multiplier: np.ndarray
    shift: int
    cache_bits: int = CACHE_BITS

    def tensors(self) -> dict[str, np.ndarray]:
        return {
            f"{self.name}.query.exponents": self.query_exponents,
            f"{self.name}.key.exponents": self.key_exponents,
            f"{self.name}.value.exponents": self.value_exponents,
            f"{self.name}.multiplier": self.multiplier,
        }


@dataclass
class QuantizedDecoder:
    """A whole model in integers: `residuals` are the exponents of the residual stream after `LAYER.attention` and
    `LAYER.mlp` by that name; `cosines` and `sines` int16 [positions, head_dim / 2] in units of 2**-14."""

    decoder: Decoder
    embedding: QuantizedEmbedding
    norms: dict[str, QuantizedNorm]
    attentions: dict[str, QuantizedAttention]
    residuals: dict[str, int]
    cosines: np.ndarray
    sines: np.ndarray
    linears: dict[str, QuantizedLinear] = field(default_factory=dict)

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything in the store, by symbol."""
        found = {COSINES: self.cosines, SINES: self.sines, **self.embedding.tensors()}
        for parts in (self.norms, self.attentions, self.linears):
            for part in parts.values():
                found |= part.tensors()
        return found

    def lut(self, context: int = 0) -> Any:
        """As `QuantizedModel.lut`."""
        from lutllm.lowering.decoder_to_lut import decoder_to_lut

        return decoder_to_lut(self, context)


def rope_tables(decoder: Decoder, positions: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines int16 [positions, head_dim / 2] in units of 2**-14, halves rounded up."""
    angles = np.outer(np.arange(positions), np.array(decoder.inverse_frequencies))
    scaled = (np.floor(f(angles) * decoder.rope_scale * 2**14 + 0.5) for f in (np.cos, np.sin))
    cosines, sines = scaled
    if np.abs(cosines).max() > 32767 or np.abs(sines).max() > 32767:
        raise InputError(f"RoPE: expected cosines and sines below 2, got a scale of {decoder.rope_scale}")
    return cosines.astype(np.int16), sines.astype(np.int16)
