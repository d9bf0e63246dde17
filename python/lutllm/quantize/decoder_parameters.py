"""The integers of a decoder that are not in its linears: a float module and windows of tokens in, norms, embedding,
attention, residual stream and RoPE tables out.

Exponents come from the largest values seen on the windows. Where widths leave room (residual stream, norms, queries),
a peak may grow by a headroom before it saturates; the 8 bits of the KV cache have none to spare.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch

from lutllm.decoder import (
    CACHE_BITS,
    NORM_BITS,
    QUERY_BITS,
    RESIDUAL_BITS,
    Attention,
    Decoder,
    Norm,
    QuantizedAttention,
    QuantizedDecoder,
    QuantizedEmbedding,
    QuantizedNorm,
    rope_tables,
)
from lutllm.errors import InputError
from lutllm.quantize.protocol import require_finite
from lutllm.quantize.recording import Stop, run_window
from lutllm.scheme import MAX_SHIFT, QuantizedLinear

STREAM_HEADROOM = 2.0  # of the residual stream and norms, which have bits to spare
QUERY_HEADROOM = 2.0
KEY_HEADROOM = 1.0  # measured on SmolLM2: half costs 3 % of perplexity, twice 0.5 %, this nothing
VALUE_HEADROOM = 1.4
EMBEDDING_BITS = 8
MULTIPLIER_LIMIT = (1 << 15) - 1
GAIN_LIMIT = (1 << 23) - 1
POSITIONS = 8192  # rows of RoPE tables at most
PAIR_SPAN = 12  # pairs quieter than a head's loudest by more than 2**12 share the finest exponent
SCORE_SPAN = 4  # heads whose scores are finer than the coarsest head's by more than 2**4 are made coarser


class Peaks:
    """The largest values seen: |output| of each norm, |x| of the residual stream where a norm reads it, and for each
    channel [heads, head_dim] of queries and keys after any rotation, and of values."""

    def __init__(self, decoder: Decoder) -> None:
        self.norms: dict[str, float] = {}
        self.stream: dict[str, float] = {}
        self.channels: dict[str, np.ndarray] = {}
        self._decoder = decoder

    def update(self, where: dict[str, Any], name: str, value: Any) -> None:
        where[name] = np.maximum(where.get(name, 0.0), value)

    def watch(self, module: Any) -> list[Any]:
        """Hooks on `module`, which fill this object while it runs; remove them afterwards."""
        d = self._decoder
        handles = []

        def after(name: str, then: Callable[[torch.Tensor], None]) -> None:
            hook = lambda _module, _args, output: then(output.detach())  # noqa: E731
            handles.append(module.get_submodule(name).register_forward_hook(hook))

        def reads(name: str, stream: str) -> None:
            hook = lambda _module, args: self.update(self.stream, stream, _largest(args[0]))  # noqa: E731
            handles.append(module.get_submodule(name).register_forward_pre_hook(hook))

        for norm in d.norms:
            after(norm.name, lambda y, n=norm.name: self.update(self.norms, n, _largest(y)))  # type: ignore[misc]
        readers = [*(layer.input_norm.name for layer in d.layers[1:]), d.final_norm.name]
        for layer, reader in zip(d.layers, readers, strict=True):
            reads(layer.mlp_norm.name, f"{layer.name}.attention")
            reads(reader, f"{layer.name}.mlp")
            a = layer.attention
            for own, head_norm, heads, peak in (
                (a.query, a.query_norm, a.heads, _rotated),
                (a.key, a.key_norm, a.kv_heads, _rotated),
                (a.value, None, a.kv_heads, _straight),
            ):
                source = head_norm.name if head_norm else own
                after(source, lambda y, n=own, h=heads, p=peak: self.update(self.channels, n, p(y, h)))  # type: ignore[misc]
        after(d.final_norm.name, _stop)
        return handles


def _stop(_output: torch.Tensor) -> None:
    raise Stop


def _largest(x: torch.Tensor) -> float:
    return float(x.detach().abs().max())


def _straight(y: torch.Tensor, heads: int) -> np.ndarray:
    return y.reshape(y.shape[0] * y.shape[1], heads, -1).abs().amax(dim=0).float().numpy()


def _rotated(y: torch.Tensor, heads: int) -> np.ndarray:
    """The radius of channels i and i + head_dim / 2, which RoPE rotates into each other."""
    x = y.reshape(y.shape[0] * y.shape[1], heads, -1).float()
    half = x.shape[-1] // 2
    radius = torch.hypot(x[..., :half], x[..., half:]).amax(dim=0)
    return torch.cat([radius, radius], dim=-1).numpy()


def record_peaks(module: Any, decoder: Decoder, windows: Iterable[np.ndarray]) -> Peaks:
    """Run windows of token ids [T] through `module`, up to the final norm."""
    peaks = Peaks(decoder)
    handles = peaks.watch(module)
    try:
        for window in windows:
            try:
                run_window(module, window)
            except Stop:
                continue
    finally:
        for handle in handles:
            handle.remove()
    return peaks


def quantize_decoder(
    module: Any, decoder: Decoder, linears: Mapping[str, QuantizedLinear], windows: Iterable[np.ndarray], positions: int
) -> QuantizedDecoder:
    """All of `decoder` in integers. `module` runs the windows: the float model, or one that simulates `linears`.

    `positions`: how many the model was made for; tables have at most `POSITIONS` rows.
    """
    weights = {norm.name: _floats(module, f"{norm.name}.weight") for norm in decoder.norms}
    embedding = quantize_embedding(decoder.embedding, _floats(module, f"{decoder.embedding}.weight"))
    peaks = record_peaks(module, decoder, windows)
    residuals = {name: _exponent(peak * STREAM_HEADROOM, RESIDUAL_BITS) for name, peak in peaks.stream.items()}
    inputs = _norm_inputs(decoder, embedding.exponent, residuals, linears)
    norms = {
        norm.name: quantize_norm(norm, weights[norm.name], peaks.norms[norm.name], inputs[norm.name])
        for norm in decoder.norms
    }
    attentions = {}
    for layer in decoder.layers:
        a = layer.attention
        scale = decoder.rope_scale
        query, key, value = (peaks.channels[name] for name in (a.query, a.key, a.value))
        attentions[a.name] = quantize_attention(a, query * scale, key * scale, value)
    cosines, sines = rope_tables(decoder, min(positions, POSITIONS))
    ordered = {name: linears[name] for name in decoder.linears}
    return QuantizedDecoder(decoder, embedding, norms, attentions, residuals, cosines, sines, ordered)


def _floats(module: Any, name: str) -> np.ndarray:
    values = module.get_parameter(name).detach().float().numpy()
    require_finite(values, name)
    return values


def _norm_inputs(
    decoder: Decoder, embedding: int, residuals: Mapping[str, int], linears: Mapping[str, QuantizedLinear]
) -> dict[str, int]:
    """The exponent of what each norm reads."""
    found, stream = {}, embedding
    for layer in decoder.layers:
        a = layer.attention
        found[layer.input_norm.name] = stream
        found[layer.mlp_norm.name] = residuals[f"{layer.name}.attention"]
        for norm, source in ((a.query_norm, a.query), (a.key_norm, a.key)):
            if norm is not None:
                found[norm.name] = linears[source].out_exponent
        stream = residuals[f"{layer.name}.mlp"]
    found[decoder.final_norm.name] = stream
    return found


def _exponent(peak: float, bits: int) -> int:
    """The finest at which `peak` is a signed integer of `bits` bits; 1.0 stands for a peak of nothing."""
    return math.ceil(math.log2((float(peak) or 1.0) / ((1 << (bits - 1)) - 1)))


def quantize_embedding(name: str, weight: np.ndarray) -> QuantizedEmbedding:
    """Rows [V, D] as int8 with one scale each, whose multipliers have one exponent: nothing is shifted away."""
    limit = (1 << (EMBEDDING_BITS - 1)) - 1
    steps = np.abs(weight).max(axis=1).astype(np.float64) / limit
    exponent = _exponent(float(steps.max()), 16)
    multiplier = np.clip(np.ceil(steps * 2.0**-exponent), 1, MULTIPLIER_LIMIT)
    rows = np.floor(weight / (multiplier * 2.0**exponent)[:, None] + 0.5)
    return QuantizedEmbedding(name, rows.astype(np.int8), multiplier.astype(np.int32), 0, exponent)


def quantize_norm(norm: Norm, weight: np.ndarray, peak: float, exponent: int) -> QuantizedNorm:
    """`weight` [channels / groups], `peak` of the output, `exponent` of the input.

    No output is larger than sqrt(channels / groups) times the largest weight, so no more room is left than that.
    """
    channels = norm.channels // norm.groups
    largest = math.sqrt(channels) * max(float(np.abs(weight).max()), 2.0**-20)
    out = _exponent(min(peak * STREAM_HEADROOM, largest) or largest, NORM_BITS)
    gain = math.sqrt(channels) * weight.astype(np.float64) * 2.0 ** (-22 - out)
    shift = int(np.clip(math.floor(math.log2(GAIN_LIMIT / float(largest * 2.0 ** (-22 - out)))), 0, MAX_SHIFT))
    epsilon = round(channels * norm.epsilon * 2.0 ** (-2 * exponent))
    return QuantizedNorm(norm.name, np.rint(gain * 2.0**shift).astype(np.int32), shift, epsilon, out)


def quantize_attention(
    attention: Attention, query: np.ndarray, key: np.ndarray, value: np.ndarray
) -> QuantizedAttention:
    """From the peaks of channels: `query` [heads, head_dim] and `key` [kv_heads, head_dim] after RoPE, `value`.

    Keys and values get the finest exponents that fit the cache. The score of a head has one exponent: the finest at
    which all its queries fit, each query's own being the score's less the key's.
    """
    keys = _pair_exponents(key * KEY_HEADROOM, CACHE_BITS)
    values = _pair_exponents(value * VALUE_HEADROOM, CACHE_BITS)
    needed = _pair_exponents(query * QUERY_HEADROOM, QUERY_BITS)
    shared = np.repeat(keys, attention.heads // attention.kv_heads, axis=0)
    scores = (shared + needed).max(axis=1)
    scores = np.maximum(scores, scores.max() - SCORE_SPAN)
    queries = scores[:, None] - shared
    factor = np.exp2(scores + 16.0) * attention.scale / math.log(2)
    shift = int(np.clip(math.floor(math.log2(MULTIPLIER_LIMIT / factor.max())), 0, MAX_SHIFT))
    multiplier = np.rint(factor * 2.0**shift)
    if multiplier.max() > MULTIPLIER_LIMIT or multiplier.min() < 1 or np.abs(queries).max() > 127:
        raise InputError(
            f"'{attention.name}': expected scores whose steps lie between 2**-47 and 1/2, got 2**{scores.min()} to "
            f"2**{scores.max()}; check the weights of '{attention.query}' and '{attention.key}'"
        )
    flat = [exponents.reshape(-1).astype(np.int8) for exponents in (queries, keys, values)]
    return QuantizedAttention(attention.name, flat[0], flat[1], flat[2], multiplier.astype(np.int32), shift)


def _pair_exponents(peak: np.ndarray, bits: int) -> np.ndarray:
    """int64 [heads, head_dim / 2]: the finest exponents at which adjacent channels' peaks [heads, head_dim] fit."""
    pairs = peak.reshape(len(peak), -1, 2).max(axis=2).astype(np.float64)
    floor = np.maximum(pairs.max(axis=1, keepdims=True), 2.0**-60) * 2.0**-PAIR_SPAN
    return np.ceil(np.log2(np.maximum(pairs, floor) / ((1 << (bits - 1)) - 1))).astype(np.int64)
