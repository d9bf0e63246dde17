"""A torch model with its linears as the tables compute them, in floats: quantized linears in, a module out.

Exact rows multiply by the weights the integers stand for; `vq` first replaces each pair of the input by its centroid.
Table entries and rows are not rounded: what that costs is the step from here to the integer program.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numba import njit, prange

from lutllm import numerics
from lutllm.models.text import perplexity_of, token_ids
from lutllm.quantize.linear.clustering import EXACT_FLOAT, METRIC, search
from lutllm.scheme import QuantizedLinear


@njit(cache=True, parallel=True)
def build_columns(entries, factors, scale, codes, block, out):
    """The columns [K, N]: float entries [P, B, R, c, 2], summed over the stages, times a factor a pair and output."""
    pairs, stages, outputs = codes.shape
    for p in prange(pairs):
        for n in range(outputs):
            a, b = np.float32(0.0), np.float32(0.0)
            for r in range(stages):
                a += entries[p, n // block, r, codes[p, r, n], 0]
                b += entries[p, n // block, r, codes[p, r, n], 1]
            out[2 * p, n] = a * factors[p] * scale[n]
            out[2 * p + 1, n] = b * factors[p] * scale[n]


def pair_factors(linear: QuantizedLinear) -> np.ndarray:
    """What an integer weight entry of each pair stands for, before the output's own scale: float32 [P]."""
    right, left = linear.shifts[:, 0].astype(np.float64), linear.shifts[:, 1].astype(np.float64)
    return np.exp2(left - right - linear.exponents).astype(np.float32)


def output_factors(linear: QuantizedLinear) -> np.ndarray:
    """The scale of each output: float32 [N]."""
    return (linear.multiplier * np.exp2(float(linear.out_exponent - linear.shift))).astype(np.float32)


class Rounded(torch.autograd.Function):
    """Tokens as centroids; backward as if they had passed unchanged. `sink(gradient, indices)` sees the gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, source: "SimulatedInput") -> torch.Tensor:
        ctx.source = source
        tokens = x.detach().float().reshape(-1, x.shape[-1]).numpy()
        seen, ctx.indices = source.look_up(tokens)
        return torch.from_numpy(seen).reshape(x.shape).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        ctx.source.receive(gradient, ctx.indices)
        return gradient, None


class SimulatedInput:
    """What linears see of one input; the last tensor's answer is kept, since its readers ask one after another.

    `books` [P, S, c_a, 2] are the integer codebook's values, `EXACT_FLOAT`; `gradient`, where an array of that shape is
    set, gathers the loss's gradient by them.
    """

    def __init__(self, linear: QuantizedLinear) -> None:
        assert linear.codebook is not None
        self.exponents, self.bits = np.repeat(linear.exponents, 2), linear.scheme.x_bits
        self.metric = METRIC[linear.scheme.metric]
        self.books = linear.codebook.astype(EXACT_FLOAT[self.metric])
        self.gradient: np.ndarray | None = None
        self._last: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self._last is None or self._last[0] is not x:
            self._last = x, Rounded.apply(x, self)
        return self._last[1]

    def look_up(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(tokens float32 [T, K] as the linear sees them, indices uint16 [T, P, S])."""
        values = numerics.quantize(tokens, self.exponents, self.bits)
        seen = np.empty(tokens.shape, np.float32)
        indices = np.empty((len(tokens), *self.books.shape[:2]), np.uint16)
        nearest_tokens(values, self.books, self.metric, np.exp2(self.exponents.astype(np.float32)), seen, indices)
        return seen, indices

    def receive(self, gradient: torch.Tensor, indices: np.ndarray) -> None:
        if self.gradient is not None:
            flat = gradient.reshape(-1, gradient.shape[-1]).float().numpy()
            gather_tokens(flat, np.exp2(self.exponents.astype(np.float32)), indices, self.gradient)


@njit(cache=True, parallel=True)
def nearest_tokens(values, books, metric, scale, seen, indices):
    """The search of the hardware for integer tokens [T, K]."""
    tokens = len(values)
    pairs, stages, _, _ = books.shape
    for p in prange(pairs):
        x, y = np.empty(tokens, books.dtype), np.empty(tokens, books.dtype)
        for t in range(tokens):
            x[t], y[t] = values[t, 2 * p], values[t, 2 * p + 1]
        rx, ry, best, index = x.copy(), y.copy(), x.copy(), np.empty((stages, tokens), np.int32)
        search(x, y, books[p], metric, best, index, rx, ry)
        for t in range(tokens):
            seen[t, 2 * p] = (x[t] - rx[t]) * scale[2 * p]
            seen[t, 2 * p + 1] = (y[t] - ry[t]) * scale[2 * p]
            for s in range(stages):
                indices[t, p, s] = index[s, t]


@njit(cache=True, parallel=True)
def gather_tokens(gradient, scale, indices, out):
    """Add the gradient by tokens [T, K] to that by the entries [P, S, c, 2] they were replaced by."""
    tokens, pairs, stages = indices.shape
    for p in prange(pairs):
        for t in range(tokens):
            for s in range(stages):
                c = indices[t, p, s]
                out[p, s, c, 0] += gradient[t, 2 * p] * scale[2 * p]
                out[p, s, c, 1] += gradient[t, 2 * p + 1] * scale[2 * p]


class SimulatedLinear(torch.nn.Module):
    """One linear: `columns` float32 [K, N] and `bias` [N]; `source` is None where the input is used as it is."""

    columns: torch.Tensor
    bias: torch.Tensor

    def __init__(self, linear: QuantizedLinear, source: SimulatedInput | None) -> None:
        super().__init__()
        self.source = source
        self.in_features, self.out_features = 2 * linear.pairs, linear.outputs
        columns = np.empty((2 * linear.pairs, linear.outputs), np.float32)
        entries = linear.weight_codebook.astype(np.float32)
        scale = output_factors(linear)
        build_columns(entries, pair_factors(linear), scale, linear.codes, linear.scheme.G, columns)
        self.register_buffer("columns", torch.from_numpy(columns))
        self.register_buffer("bias", torch.from_numpy(linear.bias.astype(np.float32) * scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = x if self.source is None else self.source(x)
        return (seen.float() @ self.columns + self.bias).to(x.dtype)


def simulated(module: Any, linears: Mapping[str, QuantizedLinear]) -> Any:
    """A copy of `module` with `linears` replaced; everything else is shared with it, not copied."""
    memo = {id(part): part for part in (*module.parameters(), *module.buffers())}
    result = copy.deepcopy(module, memo)
    sources: dict[str, SimulatedInput] = {}
    for name, linear in linears.items():
        source = None
        if linear.scheme.kind == "vq":
            if linear.input_name not in sources:
                sources[linear.input_name] = SimulatedInput(linear)
            source = sources[linear.input_name]
        result.set_submodule(name, SimulatedLinear(linear, source))
    return result


def perplexity(module: Any, windows: Iterable[np.ndarray]) -> float:
    """exp of the mean cross entropy of each window's tokens after its first."""
    total, count = 0.0, 0
    for window in windows:
        ids = token_ids(window)
        with torch.no_grad():
            logits = module(ids, use_cache=False).logits[0, :-1].float()
            total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
        count += ids.shape[1] - 1
    return perplexity_of(total, count)
