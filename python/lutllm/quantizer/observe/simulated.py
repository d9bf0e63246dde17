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
from lutllm.quantizer.linear.clustering import EXACT_FLOAT, METRIC, search
from lutllm.scheme import QuantizedLinear


def entry_index(linear: QuantizedLinear) -> torch.Tensor:
    """Where each code's entry lies in the flattened weight codebook: int32 [R, P, N]."""
    pairs, stages, outputs = linear.codes.shape
    block = np.arange(outputs, dtype=np.int32) // linear.scheme.G
    rows = (np.arange(pairs, dtype=np.int32)[:, None, None] * linear.blocks + block) * stages
    index = (rows + np.arange(stages, dtype=np.int32)[:, None]) * linear.scheme.c_w + linear.codes
    return torch.from_numpy(np.ascontiguousarray(index.transpose(1, 0, 2)))


def summed_entries(entries: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Entries [2, P*B*R*c], one row a channel of the pair, summed over the stages of `index` [R, P, N]: [2, P, N]."""
    chosen = [[plane.index_select(0, stage.reshape(-1)) for stage in index] for plane in entries]
    return torch.stack([sum(stages[1:], stages[0]) for stages in chosen]).reshape(2, *index.shape[1:])


def entry_planes(entries: np.ndarray) -> torch.Tensor:
    """A weight codebook [P, B, R, c, 2] as float32 [2, P*B*R*c]."""
    return torch.from_numpy(np.ascontiguousarray(entries.reshape(-1, 2).T, dtype=np.float32))


def pair_factors(linear: QuantizedLinear) -> np.ndarray:
    """What an integer weight entry of each pair stands for, before the output's own scale: float32 [P]."""
    right, left = linear.shifts[:, 0].astype(np.float64), linear.shifts[:, 1].astype(np.float64)
    return np.exp2(left - right - linear.exponents).astype(np.float32)


def output_factors(linear: QuantizedLinear) -> np.ndarray:
    """The scale of each output: float32 [N]."""
    return (linear.multiplier * np.exp2(float(linear.out_exponent - linear.shift))).astype(np.float32)


class Rounded(torch.autograd.Function):
    """Tokens as centroids; backward as if they had passed unchanged, the source's books see the gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, source: "SimulatedInput") -> torch.Tensor:
        ctx.source = source
        seen, ctx.indices = source.look_up(x.detach().float().reshape(-1, x.shape[-1]))
        return seen.reshape(x.shape).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        ctx.source.receive(gradient, ctx.indices)
        return gradient, None


class SimulatedInput:
    """What linears see of one input; the last tensor's answer is kept, since its readers ask one after another.

    `books` [P, S, c_a, 2] are the integer codebook's values, `EXACT_FLOAT` on a CPU; `gradient`, where a tensor of that
    shape is set, gathers the loss's gradient by them.
    """

    def __init__(self, linear: QuantizedLinear, device: Any = "cpu") -> None:
        assert linear.codebook is not None
        self.exponents, self.bits = np.repeat(linear.exponents, 2), linear.scheme.x_bits
        self.metric = METRIC[linear.scheme.metric]
        self.step = torch.from_numpy(np.exp2(linear.exponents.astype(np.float32))).to(device)
        self.gradient: torch.Tensor | None = None
        self.set_books(torch.from_numpy(linear.codebook).to(device))
        self._last: tuple[torch.Tensor, torch.Tensor] | None = None

    def set_books(self, books: torch.Tensor) -> None:
        """Integers [P, S, c_a, 2] in any type."""
        self.books = books.float() if books.is_cuda or EXACT_FLOAT[self.metric] is np.float32 else books.double()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self._last is None or self._last[0] is not x:
            self._last = x, Rounded.apply(x, self)
        return self._last[1]

    def look_up(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(tokens float32 [T, K] as the linear sees them, indices int16 [S, T, P])."""
        if tokens.is_cuda:
            limit = 1 << (self.bits - 1)
            values = (tokens.reshape(len(tokens), -1, 2) / self.step[:, None] + 0.5).floor().clamp(-limit, limit - 1)
            seen, indices = search_tokens(values, self.books, self.metric)
            return (seen * self.step[:, None]).reshape(tokens.shape), indices
        integers = numerics.quantize(tokens.numpy(), self.exponents, self.bits)
        found = np.empty(tokens.shape, np.float32)
        chosen = np.empty((self.books.shape[1], len(tokens), len(self.books)), np.int16)
        nearest_tokens(integers, self.books.numpy(), self.metric, self.step.numpy(), found, chosen)
        return torch.from_numpy(found), torch.from_numpy(chosen)

    def receive(self, gradient: torch.Tensor, indices: torch.Tensor) -> None:
        if self.gradient is None:
            return
        pairs, stages, count, _ = self.books.shape
        by_pair = gradient.reshape(-1, pairs, 2).float() * self.step[:, None]
        first = torch.arange(pairs, device=gradient.device) * (stages * count)
        for stage in range(stages):
            at = (first + stage * count + indices[stage]).reshape(-1)
            self.gradient.view(-1, 2).index_add_(0, at, by_pair.reshape(-1, 2))


def search_tokens(values: torch.Tensor, books: torch.Tensor, metric: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`nearest_tokens` in PyTorch, in the type of its arguments: integer values [T, P, 2] and books [P, S, c, 2] in;
    (sum of the centroids [T, P, 2], indices int16 [S, T, P]) out."""
    rest, indices = values, []
    for stage in range(books.shape[1]):
        book = books[:, stage]
        x, y = (rest[..., i, None] - book[..., i] for i in range(2))
        far = x * x + y * y if metric == METRIC["l2"] else torch.maximum(x.abs(), y.abs())
        index = far.argmin(dim=-1)
        rest = rest - book[torch.arange(len(book), device=book.device), index]
        indices.append(index.to(torch.int16))
    return values - rest, torch.stack(indices)


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
            seen[t, 2 * p] = (x[t] - rx[t]) * scale[p]
            seen[t, 2 * p + 1] = (y[t] - ry[t]) * scale[p]
            for s in range(stages):
                indices[s, t, p] = index[s, t]


class SimulatedLinear(torch.nn.Module):
    """One linear: `columns` [K, N] and `bias` [N] in `dtype`; `source` is None where the input is used as it is."""

    columns: torch.Tensor
    bias: torch.Tensor

    def __init__(
        self, linear: QuantizedLinear, source: SimulatedInput | None, device: Any = "cpu", dtype: Any = torch.float32
    ) -> None:
        super().__init__()
        self.source = source
        self.in_features, self.out_features = 2 * linear.pairs, linear.outputs
        index = entry_index(linear).to(device)
        scale = torch.from_numpy(output_factors(linear)).to(device)
        bias = torch.from_numpy(linear.bias.astype(np.float32)).to(device) * scale
        self.register_buffer("columns", torch.empty(self.in_features, self.out_features, device=device, dtype=dtype))
        self.register_buffer("bias", bias.to(dtype))
        factors = torch.from_numpy(pair_factors(linear)).to(device)
        self.set_columns(summed_entries(entry_planes(linear.weight_codebook).to(device), index), factors, scale)

    def set_columns(self, sums: torch.Tensor, factors: torch.Tensor, scale: torch.Tensor) -> None:
        """Of sums of entries [2, P, N], what each pair's stand for [P], and the outputs' scales [N]."""
        columns = self.columns.detach().view(-1, 2, self.out_features)
        columns.copy_(sums.transpose(0, 1) * factors[:, None, None] * scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = x if self.source is None else self.source(x)
        return (seen.to(self.columns.dtype) @ self.columns + self.bias).to(x.dtype)


def simulated(module: Any, linears: Mapping[str, QuantizedLinear]) -> Any:
    """A copy of `module` with `linears` replaced, on its device and in its type; everything else is shared with it."""
    like = next(module.parameters())
    dtype = like.dtype if like.is_cuda else torch.float32
    memo = {id(part): part for part in (*module.parameters(), *module.buffers())}
    result = copy.deepcopy(module, memo)
    sources: dict[str, SimulatedInput] = {}
    for name, linear in linears.items():
        source = None
        if linear.scheme.kind == "vq":
            if linear.input_name not in sources:
                sources[linear.input_name] = SimulatedInput(linear, like.device)
            source = sources[linear.input_name]
        result.set_submodule(name, SimulatedLinear(linear, source, like.device, dtype))
    return result


def perplexity(module: Any, windows: Iterable[np.ndarray]) -> float:
    """exp of the mean cross entropy of each window's tokens after its first."""
    total, count = 0.0, 0
    for window in windows:
        ids = token_ids(window, module.device)
        with torch.no_grad():
            logits = module(ids, use_cache=False).logits[0, :-1].float()
            total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
        count += ids.shape[1] - 1
    return perplexity_of(total, count)
