"""LEGACY, to be deleted with `lutllm.decoder` and `DecoderSpec`: the old template read back from the float level.

For what still plans from `DecoderSpec`; everything else reads IR.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.decoder import (
    Attention,
    Decoder,
    Layer,
    Norm,
    QuantizedAttention,
    QuantizedDecoder,
    QuantizedEmbedding,
    QuantizedNorm,
)
from lutllm.errors import InputError
from lutllm.lowering.quantize.graph import FloatGraph, maker, name_of
from lutllm.quantization import (
    AddConstants,
    AttentionConstants,
    EmbeddingConstants,
    NormConstants,
    Quantization,
    read_quantization,
)


def quantized_decoder(model: Any) -> QuantizedDecoder:
    """The old form of a `QuantizedModel` in the shape of a Llama or Qwen3."""
    structure, arrays = decoder_of(model.module), model.arrays
    parts = {
        "query_exponents": "query.exponents",
        "key_exponents": "key.exponents",
        "value_exponents": "value.exponents",
    }
    ops = model.constants.items()
    (embedding,) = ((n, c) for n, c in ops if isinstance(c, EmbeddingConstants))
    return QuantizedDecoder(
        structure,
        QuantizedEmbedding(
            embedding[0],
            arrays[f"{embedding[0]}.rows"],
            arrays[f"{embedding[0]}.multiplier"],
            embedding[1].shift,
            embedding[1].exponent,
        ),
        {
            n: QuantizedNorm(n, arrays[f"{n}.gain"], c.gain_shift, c.epsilon, c.exponent)
            for n, c in ops
            if isinstance(c, NormConstants)
        },
        {
            n: QuantizedAttention(
                n,
                **{field: arrays[f"{n}.{part}"] for field, part in parts.items()},
                multiplier=arrays[f"{n}.multiplier"],
                shift=c.shift,
                cache_bits=c.cache_bits,
            )
            for n, c in ops
            if isinstance(c, AttentionConstants)
        },
        {n: c.exponent for n, c in ops if isinstance(c, AddConstants)},
        arrays["rope.cosines"],
        arrays["rope.sines"],
        model.linears,
    )


def read_legacy(path: Path | str) -> tuple[Decoder, Quantization]:
    """Of a directory of `lutllm quantize`, or its quantization.json."""
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    quantization = read_quantization(path)
    if not (folder / "model.float.mlir").is_file():
        raise InputError(
            f"'{path}': expected the description of a whole decoder, got linears; quantize the whole model"
        )
    with dialect.context() as context, ir.Location.unknown():
        return decoder_of(ir.Module.parseFile(str(folder / "model.float.mlir"), context)), quantization


def decoder_of(module: ir.Module) -> Decoder:
    graph = FloatGraph(module)
    head = maker(graph.results[0])
    final = maker(head.x)
    layers, stream = [], final.x
    while isinstance(maker(stream), dialect.FloatAddOp):
        layers.append(_layer(stream))
        stream = maker(maker(stream).a).a
    embedding = maker(stream)
    vocabulary, hidden = graph.parameter_shape(embedding.weight.value)
    rope = graph.of(dialect.FloatRopeOp)[0]
    return Decoder(
        name_of(embedding), tuple(reversed(layers)), _norm(final), name_of(head), vocabulary, hidden, (),
        float(rope.scale.value),
    )  # fmt: skip


def _layer(end: ir.Value) -> Layer:
    mlp_add = maker(end)
    down, attention_add = maker(mlp_add.b), maker(mlp_add.a)
    gated = maker(down.x)
    gate, up = maker(gated.gate), maker(gated.up)
    output = maker(attention_add.b)
    seen = maker(output.x)
    (query, query_norm), (key, key_norm) = _rotated(seen.query), _rotated(seen.keys)
    heads = int(seen.heads.value)
    attention = Attention(
        name_of(seen), heads, int(seen.kv_heads.value), seen.query.type.shape[1] // heads, float(seen.scale.value),
        name_of(query), name_of(key), name_of(maker(seen.values)), name_of(output), query_norm, key_norm,
    )  # fmt: skip
    return Layer(
        name_of(mlp_add).rpartition(".")[0], _norm(maker(query.x)), attention, _norm(maker(gate.x)),
        name_of(gate), name_of(up), name_of(down), gate.y.type.shape[1],
    )  # fmt: skip


def _rotated(value: ir.Value) -> tuple[Any, Norm | None]:
    op = maker(maker(value).x)
    return (maker(op.x), _norm(op)) if isinstance(op, dialect.FloatNormOp) else (op, None)


def _norm(op: Any) -> Norm:
    return Norm(name_of(op), op.x.type.shape[1], float(op.epsilon.value), int(op.groups.value))
