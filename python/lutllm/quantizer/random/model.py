"""A random valid `QuantizedModel`: a module of the float level, schemes and a seed in, integers of realistic size out.

For tests of everything below PyTorch, which need a whole model and no weights. numpy only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lutllm import interpreter
from lutllm.bindings import ir
from lutllm.dialect import FloatLinearOp
from lutllm.lowering.quantize.graph import FloatGraph, name_of
from lutllm.quantization import AddConstants, AttentionConstants, EmbeddingConstants, NormConstants
from lutllm.quantized.pretrained import QuantizedModel
from lutllm.quantizer.constants import Arrays, OpQuantizer, quantize_attention, quantize_norm
from lutllm.quantizer.random.linear import random_linear
from lutllm.scheme import MAX_SHIFT, QuantizedLinear, Scheme

_STREAM = -16  # exponent of the residual stream, of values around 1
_LINEAR = -20
_PEAK = 8.0  # of everything that is around 1
_THETA = 1e4  # of RoPE
_SAMPLE = 64  # outputs and tokens a linear's size is measured on
_WITH_BIAS = ("q_proj", "k_proj", "v_proj")


def random_model(
    module: ir.Module,
    scheme: Scheme | Callable[[str], Scheme],
    seed: int = 0,
    *,
    positions: int = 64,
    bias: bool = False,
) -> QuantizedModel:
    """Integers for `module`, its RoPE tables `positions` rows long; `scheme` may depend on the linear's name.

    Same arguments, same integers. Values between ops are around 1, so that few saturate and every op matters. Linears
    that read one input must have one kind of scheme. `bias` gives the linears of query, key and value one.
    """
    graph = FloatGraph(module)
    rng = np.random.default_rng([seed, len(graph.ops)])
    makes = _Linears(rng, _each(scheme), bias)
    shapes = {name_of(op): (op.x.type.shape[1], op.y.type.shape[1]) for op in graph.of(FloatLinearOp)}
    for names in graph.shared_inputs:
        makes.readers(names, shapes)
    linears = {name: makes.linears[name] for name in graph.linears}
    found = _Ops(graph, linears, positions, rng).run()
    return QuantizedModel(module, found.constants, linears, found.arrays)


def hollow_model(module: ir.Module, scheme: Scheme | Callable[[str], Scheme], *, positions: int = 64) -> QuantizedModel:
    """As `random_model`, for what needs no more than shapes and constants: every weight is 0 and takes no memory."""
    graph, of = FloatGraph(module), _each(scheme)
    shapes = {name_of(op): (op.x.type.shape[1], op.y.type.shape[1]) for op in graph.of(FloatLinearOp)}
    linears = {
        name: hollow_linear(*shapes[name], of(name), name, f"{names[0]}.input")
        for names in graph.shared_inputs
        for name in names
    }
    found = _Hollow(graph, {name: linears[name] for name in graph.linears}, positions, np.random.default_rng(0)).run()
    return QuantizedModel(module, found.constants, linears, found.arrays)


def _each(scheme: Scheme | Callable[[str], Scheme]) -> Callable[[str], Scheme]:
    return (lambda _: scheme) if isinstance(scheme, Scheme) else scheme


def hollow_linear(inputs: int, outputs: int, scheme: Scheme, name: str, input_name: str) -> QuantizedLinear:
    """A linear of zeros that take no memory."""
    s, pairs = scheme, inputs // 2

    def zeros(dtype: type, *shape: int) -> np.ndarray:
        return np.broadcast_to(dtype(0), shape)

    return QuantizedLinear(
        name=name,
        input_name=input_name,
        scheme=s,
        exponents=zeros(np.int8, pairs),
        codebook=zeros(np.int16, pairs, s.S, s.c_a, 2) if s.kind == "vq" else None,
        weight_codebook=zeros(np.int8, pairs, s.blocks(outputs), s.R, s.c_w, 2),
        codes=zeros(np.uint8, pairs, s.R, outputs),
        shifts=zeros(np.int8, pairs, 2),
        multiplier=zeros(np.int32, outputs),
        bias=zeros(np.int32, outputs),
        shift=0,
        out_exponent=_LINEAR,
    )


class _Linears:
    def __init__(self, rng: np.random.Generator, scheme: Callable[[str], Scheme], bias: bool) -> None:
        self.rng, self.scheme, self.bias = rng, scheme, bias
        self.linears: dict[str, QuantizedLinear] = {}

    def readers(self, names: Sequence[str], shapes: dict[str, tuple[int, int]]) -> None:
        """The linears that read one tensor: they share its exponents and its codebook."""
        inputs, _ = shapes[names[0]]
        bits = self.scheme(names[0]).x_bits
        exponents = (4 - bits + self.rng.integers(-1, 2, inputs // 2)).astype(np.int8)  # integers reach about 8.0
        codebook = None
        for name in names:
            linear = random_linear(
                *shapes[name],
                self.scheme(name),
                int(self.rng.integers(1 << 31)),
                name=name,
                input_name=f"{names[0]}.input",
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
        if self.bias and linear.name.endswith(_WITH_BIAS):
            linear.bias = np.rint(self.rng.normal(0, deviation / 4, linear.outputs)).astype(np.int32)
        factor = 2.0**-linear.out_exponent / deviation
        linear.shift = int(np.clip(np.floor(14 - np.log2(factor)), 0, MAX_SHIFT))
        spread = self.rng.uniform(0.7, 1.4, linear.outputs)
        linear.multiplier = np.clip(np.rint(factor * spread * 2.0**linear.shift), 1, (1 << 15) - 1).astype(np.int32)


class _Ops(OpQuantizer):
    """Of random weights and peaks."""

    def __init__(
        self, graph: FloatGraph, linears: dict[str, QuantizedLinear], positions: int, rng: np.random.Generator
    ) -> None:
        super().__init__(graph, linears, positions)
        self.rng = rng

    def embedding(self, op: Any) -> tuple[EmbeddingConstants, Arrays]:
        shape = self.graph.parameter_shape(op.weight.value)
        rows = self.rng.integers(-127, 128, shape).astype(np.int8)
        multiplier = self.rng.integers(1 << 13, 1 << 15, shape[0]).astype(np.int32)
        return EmbeddingConstants(shift=4, exponent=_STREAM), {"rows": rows, "multiplier": multiplier}

    def norm(self, op: Any, exponent: int) -> tuple[NormConstants, Arrays]:
        channels = op.x.type.shape[1] // int(op.groups.value)
        gain = self.rng.normal(1.0, 0.1, channels)
        bias = None if op.optional("bias") is None else self.rng.normal(0.0, 0.3, channels)
        return quantize_norm(channels, float(op.epsilon.value), gain, _PEAK, exponent, bias)

    def add(self, op: Any) -> AddConstants:
        return AddConstants(_STREAM + int(self.rng.integers(0, 2)))

    def attention(self, op: Any) -> tuple[AttentionConstants, Arrays]:
        heads, kv_heads = int(op.heads.value), int(op.kv_heads.value)
        channels = op.query.type.shape[1] // heads
        peaks = (_PEAK * np.exp2(self.rng.uniform(-1, 1, (n, channels))) for n in (heads, kv_heads, kv_heads))
        return quantize_attention(name_of(op), float(op.scale.value), *peaks, softcap=op.number("softcap"))

    def frequencies(self, symbol: str, pairs: int) -> np.ndarray:
        return _THETA ** (-np.arange(pairs) / pairs)


class _Hollow(_Ops):
    def embedding(self, op: Any) -> tuple[EmbeddingConstants, Arrays]:
        shape = self.graph.parameter_shape(op.weight.value)
        rows, multiplier = np.broadcast_to(np.int8(0), shape), np.broadcast_to(np.int32(0), shape[:1])
        arrays: Arrays = {"rows": rows, "multiplier": multiplier}
        return EmbeddingConstants(shift=4, exponent=_STREAM), arrays
