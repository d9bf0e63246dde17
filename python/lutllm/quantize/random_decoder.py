"""LEGACY, to be deleted.

A random valid `QuantizedDecoder`: a structure, schemes and a seed in, integers of realistic size out.

For tests of everything below PyTorch, which need a whole decoder and no model. numpy only.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lutllm import interpreter
from lutllm.decoder import (
    Attention,
    Decoder,
    Layer,
    Norm,
    QuantizedAttention,
    QuantizedDecoder,
    QuantizedEmbedding,
    QuantizedNorm,
    rope_tables,
)
from lutllm.quantize.random import random_linear
from lutllm.scheme import MAX_SHIFT, QuantizedLinear, Scheme

_STREAM = -16  # exponent of the residual stream, of values around 1
_NORM = -20
_LINEAR = -20
_SCORE = -16  # exponent of a query times a key
_KEY, _VALUE = -4, -4
_SAMPLE = 64  # outputs and tokens a linear's size is measured on


def decoder_like(
    hidden: int = 48,
    intermediate: int = 80,
    layers: int = 2,
    heads: int = 4,
    kv_heads: int = 2,
    head_dim: int = 12,
    vocabulary: int = 320,
    *,
    qk_norm: bool = False,
    epsilon: float = 1e-6,
    theta: float = 1e4,
) -> Decoder:
    """The structure of a Llama (with `qk_norm`: of a Qwen3) of these sizes, under the names transformers gives."""

    def layer(i: int) -> Layer:
        name = f"model.layers.{i}"
        own = f"{name}.self_attn"
        attention = Attention(
            own,
            heads,
            kv_heads,
            head_dim,
            head_dim**-0.5,
            query=f"{own}.q_proj",
            key=f"{own}.k_proj",
            value=f"{own}.v_proj",
            output=f"{own}.o_proj",
            query_norm=Norm(f"{own}.q_norm", heads * head_dim, epsilon, heads) if qk_norm else None,
            key_norm=Norm(f"{own}.k_norm", kv_heads * head_dim, epsilon, kv_heads) if qk_norm else None,
        )
        return Layer(
            name,
            Norm(f"{name}.input_layernorm", hidden, epsilon),
            attention,
            Norm(f"{name}.post_attention_layernorm", hidden, epsilon),
            gate=f"{name}.mlp.gate_proj",
            up=f"{name}.mlp.up_proj",
            down=f"{name}.mlp.down_proj",
            intermediate=intermediate,
        )

    return Decoder(
        embedding="model.embed_tokens",
        layers=tuple(layer(i) for i in range(layers)),
        final_norm=Norm("model.norm", hidden, epsilon),
        head="lm_head",
        vocabulary=vocabulary,
        hidden=hidden,
        inverse_frequencies=tuple(theta ** (-2 * i / head_dim) for i in range(head_dim // 2)),
    )


def random_decoder(
    decoder: Decoder,
    scheme: Scheme | Callable[[str], Scheme],
    seed: int = 0,
    *,
    positions: int = 64,
    bias: bool = False,
) -> QuantizedDecoder:
    """Integers for `decoder`, its RoPE tables `positions` rows long; `scheme` may depend on the linear's name.

    Same arguments, same integers. Values between ops are around 1, so that few saturate and every op matters. Linears
    that read one input must have one kind of scheme. `bias` gives the linears of query, key and value one.
    """
    return _Random(decoder, scheme, seed, positions, bias).make()


class _Random:
    def __init__(
        self, decoder: Decoder, scheme: Scheme | Callable[[str], Scheme], seed: int, positions: int, bias: bool
    ) -> None:
        self.decoder, self.seed, self.positions, self.bias = decoder, seed, positions, bias
        self.scheme = (lambda _: scheme) if isinstance(scheme, Scheme) else scheme
        self.rng = np.random.default_rng([seed, decoder.hidden, len(decoder.layers)])
        self.linears: dict[str, QuantizedLinear] = {}

    def make(self) -> QuantizedDecoder:
        d = self.decoder
        residuals = {}
        for layer in d.layers:
            a = layer.attention
            inner, kv = a.heads * a.head_dim, a.kv_heads * a.head_dim
            self.readers({a.query: inner, a.key: kv, a.value: kv}, d.hidden)
            self.readers({a.output: d.hidden}, inner)
            self.readers({layer.gate: layer.intermediate, layer.up: layer.intermediate}, d.hidden)
            self.readers({layer.down: d.hidden}, layer.intermediate)
            for part in ("attention", "mlp"):
                residuals[f"{layer.name}.{part}"] = _STREAM + int(self.rng.integers(0, 2))
        self.readers({d.head: d.vocabulary}, d.hidden)
        cosines, sines = rope_tables(d, self.positions)
        inputs = self.norm_inputs(residuals)
        return QuantizedDecoder(
            decoder=d,
            embedding=self.embedding(),
            norms={norm.name: self.norm(norm, inputs[norm.name]) for norm in d.norms},
            attentions={layer.attention.name: self.attention(layer.attention) for layer in d.layers},
            residuals=residuals,
            cosines=cosines,
            sines=sines,
            linears={name: self.linears[name] for name in d.linears},
        )

    def readers(self, outputs: dict[str, int], inputs: int) -> None:
        """The linears that read one tensor: they share its exponents and its codebook."""
        first = next(iter(outputs))
        bits = self.scheme(first).x_bits
        exponents = (4 - bits + self.rng.integers(-1, 2, inputs // 2)).astype(np.int8)  # integers reach about 8.0
        codebook = None
        for name, width in outputs.items():
            linear = random_linear(
                inputs,
                width,
                self.scheme(name),
                int(self.rng.integers(1 << 31)),
                name=name,
                input_name=f"{first}.input",
                bias=False,
                codebook=codebook,
            )
            codebook = linear.codebook
            linear.exponents = exponents
            linear.out_exponent = _LINEAR + int(self.rng.integers(-1, 1))
            self.scale(linear, exponents)
            self.linears[name] = linear

    def scale(self, linear: QuantizedLinear, exponents: np.ndarray) -> None:
        """A requantizer that brings the outputs to a deviation of about 1, measured on some."""
        s, n = linear.scheme, min(_SAMPLE, linear.scheme.G, linear.outputs)
        part = replace(
            linear,
            scheme=s.with_(out_bits=32),
            weight_codebook=linear.weight_codebook[:, :1],
            codes=linear.codes[:, :, :n],
            multiplier=np.ones(n, np.int32),
            bias=linear.bias[:n],
            shift=0,
        )
        half = 1 << (s.x_bits - 1)
        x = self.rng.normal(0, 1, (_SAMPLE, 2 * linear.pairs)) / np.exp2(np.repeat(exponents.astype(float), 2))
        sums = interpreter.linear(part, np.clip(np.rint(x), -half, half - 1).astype(np.int64))
        deviation = max(1.0, float(sums.std()))
        if self.bias and linear.name.endswith(("q_proj", "k_proj", "v_proj")):
            linear.bias = np.rint(self.rng.normal(0, deviation / 4, linear.outputs)).astype(np.int32)
        factor = 2.0**-linear.out_exponent / deviation
        linear.shift = int(np.clip(np.floor(14 - np.log2(factor)), 0, MAX_SHIFT))
        spread = self.rng.uniform(0.7, 1.4, linear.outputs)
        linear.multiplier = np.clip(np.rint(factor * spread * 2.0**linear.shift), 1, (1 << 15) - 1).astype(np.int32)

    def embedding(self) -> QuantizedEmbedding:
        d = self.decoder
        rows = self.rng.integers(-127, 128, (d.vocabulary, d.hidden)).astype(np.int8)
        multiplier = self.rng.integers(1 << 13, 1 << 15, d.vocabulary).astype(np.int32)
        return QuantizedEmbedding(d.embedding, rows, multiplier, shift=4, exponent=_STREAM)

    def norm_inputs(self, residuals: dict[str, int]) -> dict[str, int]:
        """The exponent of what each norm reads."""
        found, stream = {}, _STREAM
        for layer in self.decoder.layers:
            a = layer.attention
            found[layer.input_norm.name] = stream
            for norm, linear in ((a.query_norm, a.query), (a.key_norm, a.key)):
                if norm is not None:
                    found[norm.name] = self.linears[linear].out_exponent
            found[layer.mlp_norm.name] = residuals[f"{layer.name}.attention"]
            stream = residuals[f"{layer.name}.mlp"]
        return {**found, self.decoder.final_norm.name: stream}

    def norm(self, norm: Norm, exponent: int) -> QuantizedNorm:
        channels = norm.channels // norm.groups
        weight = self.rng.normal(1.0, 0.1, channels)
        gain = np.sqrt(channels) * weight * 2.0 ** (-22 - _NORM)
        shift = int(22 - np.ceil(np.log2(np.abs(gain).max())))
        return QuantizedNorm(
            norm.name,
            np.rint(gain * 2.0**shift).astype(np.int32),
            gain_shift=shift,
            epsilon=round(channels * norm.epsilon * 2.0 ** (-2 * exponent)),
            exponent=_NORM,
        )

    def attention(self, a: Attention) -> QuantizedAttention:
        pairs = a.head_dim // 2
        key = _KEY + self.rng.integers(-1, 2, (a.kv_heads, pairs))
        query = np.repeat(_SCORE - key, a.heads // a.kv_heads, axis=0)
        value = _VALUE + self.rng.integers(-1, 2, (a.kv_heads, pairs))
        factor = 2.0 ** (_SCORE + 16) * a.scale / np.log(2)
        shift = int(np.floor(14.5 - np.log2(factor)))
        return QuantizedAttention(
            a.name,
            query_exponents=query.reshape(-1).astype(np.int8),
            key_exponents=key.reshape(-1).astype(np.int8),
            value_exponents=value.reshape(-1).astype(np.int8),
            multiplier=np.full(a.heads, round(factor * 2**shift), np.int32),
            shift=shift,
        )
