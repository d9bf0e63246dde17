"""Distillation: codes stay, everything continuous moves so that the model's next-token distribution comes back.

KL divergence to the float model on calibration windows, one window a step, by Adam. Weight entries, activation
centroids and the outputs' scales are floats whose rounded values are used in the forward pass, and the
gradient of the rounded values is theirs (straight-through). Indices of the centroid search have no gradient.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numba import njit, prange

from lutllm import store
from lutllm.models.text import token_ids
from lutllm.progress import note
from lutllm.quantize.linear.assembly import assemble, encoded_scale
from lutllm.quantize.observe.simulated import (
    SimulatedInput,
    SimulatedLinear,
    build_columns,
    output_factors,
    pair_factors,
    simulated,
)
from lutllm.scheme import QuantizedLinear

RATE = 0.003  # a step moves an entry by about this part of its pair's root mean square
GAIN_RATE = 0.1  # of that, for scales
WARM_UP = 0.1  # of the steps
BETAS = (0.9, 0.98)
REPORT = 16  # steps between two lines, and between two checkpoints


@njit(cache=True, parallel=True)
def gather_columns(gradient, scale, factors, codes, block, out):
    """The gradient by float entries [P, B, R, c, 2] of that by the columns [K, N]."""
    pairs, stages, outputs = codes.shape
    for p in prange(pairs):
        out[p] = 0.0
        for n in range(outputs):
            a = gradient[2 * p, n] * scale[n] * factors[p]
            b = gradient[2 * p + 1, n] * scale[n] * factors[p]
            for r in range(stages):
                out[p, n // block, r, codes[p, r, n], 0] += a
                out[p, n // block, r, codes[p, r, n], 1] += b


@dataclass
class Adam:
    """One trained array; `unit` (broadcast) is the step that a rate of 1 takes."""

    value: np.ndarray
    unit: np.ndarray | float
    mean: np.ndarray = field(init=False)
    square: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.value = self.value.astype(np.float32)
        self.mean, self.square = np.zeros_like(self.value), np.zeros_like(self.value)

    def step(self, gradient: np.ndarray, rate: float, count: int) -> None:
        """One step against the gradient; `count` from 1."""
        a, b = BETAS
        self.mean += (1 - a) * (gradient - self.mean)
        self.square += (1 - b) * (gradient * gradient - self.square)
        size = np.sqrt(self.square / np.float32(1 - b**count))
        move = self.mean / np.float32(1 - a**count) / np.maximum(size, 1e-30)
        self.value -= (rate * self.unit * move).astype(np.float32)


class TrainedLinear:
    """A simulated linear whose entries and scales move."""

    def __init__(self, linear: QuantizedLinear, part: SimulatedLinear) -> None:
        self.linear, self.part = linear, part
        self.limit = (1 << (linear.scheme.weight_bits - 1)) - 1
        entries = linear.weight_codebook.astype(np.float32)
        size = np.sqrt(np.mean(np.square(entries), axis=(1, 2, 3, 4), keepdims=True)) + 1e-3
        self.factors, self.scale = pair_factors(linear), output_factors(linear)
        self.entries = Adam(entries, size)
        self.gain = Adam(np.ones(linear.outputs), GAIN_RATE)
        self.gradient = np.empty_like(entries)
        part.columns.requires_grad_(True)
        self.rebuild()

    @property
    def rounded(self) -> np.ndarray:
        return np.clip(np.rint(self.entries.value), -self.limit, self.limit)

    def rebuild(self) -> None:
        columns, scale = self.part.columns.detach().numpy(), self.scale * self.gain.value
        build_columns(self.rounded, self.factors, scale, self.linear.codes, self.linear.scheme.G, columns)

    def step(self, rate: float, count: int) -> None:
        assert self.part.columns.grad is not None
        gradient = self.part.columns.grad.numpy()
        scale = self.scale * self.gain.value
        gather_columns(gradient, scale, self.factors, self.linear.codes, self.linear.scheme.G, self.gradient)
        self.entries.step(self.gradient, rate, count)
        columns = self.part.columns.detach().numpy()
        self.gain.step(np.einsum("kn,kn->n", gradient, columns) / self.gain.value, rate, count)
        self.part.columns.grad = None
        self.rebuild()

    def quantized(self, codebook: np.ndarray | None) -> QuantizedLinear:
        """In integers; `codebook` is the input's."""
        q = self.linear
        shifts = q.shifts.astype(np.int64)
        scale = encoded_scale(q.multiplier * self.gain.value * np.exp2(float(q.out_exponent - q.shift)))
        return assemble(
            name=q.name,
            input_name=q.input_name,
            scheme=q.scheme,
            exponents=q.exponents,
            codebook=codebook,
            weight_codebook=self.rounded.astype(np.int8),
            weight_exponents=shifts[:, 1] - shifts[:, 0] - q.exponents,
            codes=q.codes,
            scale=scale,
            bias=self.part.bias.numpy(),
            output_peak=q.metadata["output_peak"],
            metadata=q.metadata,
        )


class TrainedInput:
    """The centroids of one input, which move."""

    def __init__(self, source: SimulatedInput, bits: int) -> None:
        self.source, self.limit = source, (1 << (bits - 1)) - 1
        size = np.sqrt(np.mean(np.square(source.books), axis=(2, 3), keepdims=True)) + 1e-3
        self.books = Adam(source.books, size)
        source.gradient = np.zeros(source.books.shape, np.float32)

    @property
    def rounded(self) -> np.ndarray:
        return np.clip(np.rint(self.books.value), -self.limit, self.limit)

    def step(self, rate: float, count: int) -> None:
        assert self.source.gradient is not None
        self.books.step(self.source.gradient, rate, count)
        self.source.gradient[:] = 0.0
        self.rebuild()

    def rebuild(self) -> None:
        self.source.books = self.rounded.astype(self.source.books.dtype)


def divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean KL(teacher || student) of logits [T, V]."""
    log_p, log_q = torch.log_softmax(teacher, dim=-1), torch.log_softmax(student, dim=-1)
    return (torch.softmax(teacher, dim=-1) * (log_p - log_q)).sum() / len(teacher)


class Distillation:
    """The training of a quantized model by windows of tokens: `step` for each, then `linears`."""

    def __init__(self, module: Any, linears: Mapping[str, QuantizedLinear], steps: int, rate: float = RATE) -> None:
        self.float, self.steps, self.rate, self.count = module, steps, rate, 0
        self.student = simulated(module, linears)
        self.parts = {name: TrainedLinear(q, self.student.get_submodule(name)) for name, q in linears.items()}
        self.inputs: dict[str, TrainedInput] = {}
        for part in self.parts.values():
            source, name = part.part.source, part.linear.input_name
            if source is not None and name not in self.inputs:
                self.inputs[name] = TrainedInput(source, part.linear.scheme.act_bits)

    def step(self, window: np.ndarray) -> float:
        """One step on token ids [T]; the divergence before it."""
        ids = token_ids(window)
        with torch.no_grad():
            teacher = self.float(ids, use_cache=False).logits[0].float()
        loss = divergence(self.student(ids, use_cache=False).logits[0].float(), teacher)
        loss.backward()
        self.count += 1
        rate = self.rate * min(1.0, self.count / (WARM_UP * self.steps))
        rate *= 0.5 * (1 + math.cos(math.pi * self.count / (self.steps + 1)))
        for part in self._moving():
            part.step(rate, self.count)
        return float(loss.detach())

    def linears(self) -> dict[str, QuantizedLinear]:
        """The trained linears in integers, their ranges proven anew."""
        books = {name: i.rounded.astype(np.int16) for name, i in self.inputs.items()}
        return {name: part.quantized(books.get(part.linear.input_name)) for name, part in self.parts.items()}

    def state(self) -> dict[str, np.ndarray]:
        """Everything that moves, as the integers that spell the floats."""
        found = {"count": np.array([self.count])}
        for name, trained in self._trained():
            found |= {f"{name}.{key}": getattr(trained, key).view(np.int32) for key in ("value", "mean", "square")}
        return found

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a `state`."""
        self.count = int(state["count"][0])
        for name, trained in self._trained():
            for key in ("value", "mean", "square"):
                getattr(trained, key)[:] = state[f"{name}.{key}"].view(np.float32)
        for part in self._moving():
            part.rebuild()

    def _moving(self) -> list[TrainedLinear | TrainedInput]:
        return [*self.parts.values(), *self.inputs.values()]

    def _trained(self) -> Iterator[tuple[str, Adam]]:
        for name, part in self.parts.items():
            yield f"{name}.entries", part.entries
            yield f"{name}.gain", part.gain
        for name, trained in self.inputs.items():
            yield f"{name}.books", trained.books


def distill(
    module: Any,
    linears: Mapping[str, QuantizedLinear],
    windows: np.ndarray | Sequence[np.ndarray],
    *,
    checkpoint: Path | None = None,
    progress: bool = True,
) -> dict[str, QuantizedLinear]:
    """`linears` after one step for each window. `checkpoint` is a file that an interrupted run goes on from."""
    training = Distillation(module, linears, len(windows))
    if checkpoint is not None and store.sealed(checkpoint):
        kept = store.load(checkpoint)
        training.restore({name: kept[name] for name in kept})
    start, first, losses = time.monotonic(), training.count, []
    for window in windows[first:]:
        losses.append(training.step(window))
        done = training.count
        if done % REPORT == 0 or done == len(windows):
            left = (time.monotonic() - start) / (done - first) * (len(windows) - done)
            loss = float(np.mean(losses[-REPORT:]))
            note(
                f"distillation [{done}/{len(windows)}] divergence {loss:.4f}, about {left:.0f} s left",
                quiet=not progress,
            )
            if checkpoint is not None:
                store.save(checkpoint, training.state())
                store.seal(checkpoint)
    return training.linears()
