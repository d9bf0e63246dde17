"""LEGACY, to be deleted.

What planning needs to know of a quantized decoder: the store's description in, shifts, exponents and shapes out.

No array is read: `quantization.json` is enough to make the decoder's program.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from lutllm.decoder import COSINES, SINES, Decoder, QuantizedDecoder
from lutllm.dialect import parameters
from lutllm.lowering.legacy_decoder import read_legacy
from lutllm.lowering.linear_spec import LinearSpec, Shape, specs_of
from lutllm.quantization import AddConstants, AttentionConstants, EmbeddingConstants, NormConstants


@dataclass(frozen=True)
class EmbeddingSpec:
    shift: int
    exponent: int


@dataclass(frozen=True)
class NormSpec:
    gain_shift: int
    epsilon: int
    exponent: int


@dataclass(frozen=True)
class AttentionSpec:
    shift: int
    cache_bits: int


@dataclass(frozen=True)
class DecoderSpec:
    """The structure and, by name, the constants of every part; `positions` rows of RoPE tables. `sha256` of the store
    where it is known."""

    decoder: Decoder
    embedding: EmbeddingSpec
    norms: Mapping[str, NormSpec]
    attentions: Mapping[str, AttentionSpec]
    residuals: Mapping[str, int]
    positions: int
    linears: Mapping[str, LinearSpec]
    sha256: str | None = None

    @classmethod
    def of(cls, q: QuantizedDecoder, sha256: str | None = None) -> DecoderSpec:
        return cls(
            decoder=q.decoder,
            embedding=EmbeddingSpec(q.embedding.shift, q.embedding.exponent),
            norms={name: NormSpec(n.gain_shift, n.epsilon, n.exponent) for name, n in q.norms.items()},
            attentions={name: AttentionSpec(a.shift, a.cache_bits) for name, a in q.attentions.items()},
            residuals=q.residuals,
            positions=len(q.cosines),
            linears=specs_of(q.linears),
            sha256=sha256,
        )

    @property
    def identity(self) -> str:
        """A hash of the structure and every constant here; weights have no part in it."""
        known = {name: value for name, value in asdict(self).items() if name != "sha256"}
        return hashlib.sha256(json.dumps(known, sort_keys=True, default=int).encode()).hexdigest()

    def missing(self) -> str | None:
        """The first part of the structure that has no constants."""
        d = self.decoder
        wanted = (
            (self.norms, [norm.name for norm in d.norms]),
            (self.attentions, [layer.attention.name for layer in d.layers]),
            (self.residuals, d.residuals),
            (self.linears, d.linears),
        )
        return next((name for have, names in wanted for name in names if name not in have), None)

    def globals(self) -> dict[str, Shape]:
        """Symbol -> (shape, dtype) of everything the program needs of the store."""
        d, found = self.decoder, {}
        found[f"{d.embedding}.rows"] = parameters.embedding_rows(d.vocabulary, d.hidden)
        found[f"{d.embedding}.multiplier"] = parameters.per_output(d.vocabulary)
        for layer in d.layers:
            a = layer.attention
            pairs = a.head_dim // 2
            found[COSINES] = found[SINES] = parameters.rotations(self.positions, pairs)
            found[f"{a.name}.query.exponents"] = parameters.exponents(a.heads * pairs)
            for part in ("key", "value"):
                found[f"{a.name}.{part}.exponents"] = parameters.exponents(a.kv_heads * pairs)
            found[f"{a.name}.multiplier"] = parameters.per_output(a.heads)
        for norm in d.norms:
            found[f"{norm.name}.gain"] = parameters.per_output(norm.channels // norm.groups)
        for name in d.linears:
            found |= self.linears[name].globals()
        return found


def read_decoder_spec(path: Path | str) -> DecoderSpec:
    """The spec of a directory of `lutllm quantize` (or its quantization.json)."""
    decoder, q = read_legacy(path)
    ops = q.ops.items()
    (embedding,) = (c for _, c in ops if isinstance(c, EmbeddingConstants))
    return DecoderSpec(
        decoder=decoder,
        embedding=EmbeddingSpec(embedding.shift, embedding.exponent),
        norms={n: NormSpec(c.gain_shift, c.epsilon, c.exponent) for n, c in ops if isinstance(c, NormConstants)},
        attentions={n: AttentionSpec(c.shift, c.cache_bits) for n, c in ops if isinstance(c, AttentionConstants)},
        residuals={n: c.exponent for n, c in ops if isinstance(c, AddConstants)},
        positions=q.positions or 0,
        linears={n: LinearSpec(name=n, **vars(c)) for n, c in q.linears.items()},
        sha256=q.sha256,
    )
