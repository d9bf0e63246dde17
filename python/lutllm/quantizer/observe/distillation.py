"""Distillation: what a quantized linear is made of moves so that the model's next-token distribution comes back.

KL divergence to the float model on windows of tokens, by Adam. Weight entries, activation centroids and the outputs'
scales are floats whose rounded values are used in the forward pass, and the gradient of the rounded values is theirs
(straight-through). Codes move where they are asked to: each pair of weights then has a float point beside it, which
gets the pair's gradient and has the code whose entries add up nearest to it (LLM-QAT, arXiv 2305.17888, with codebooks
that are learned; compare PV-tuning, arXiv 2405.14852). Indices of the centroid search have no gradient.

On a CPU the same arguments give the same bits; on a GPU sums of gradients come in any order.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lutllm import store
from lutllm.models.text import token_ids
from lutllm.progress import note
from lutllm.quantizer.linear.assembly import assemble, encoded_scale
from lutllm.quantizer.observe.simulated import (
    SimulatedInput,
    SimulatedLinear,
    entry_index,
    entry_planes,
    output_factors,
    pair_factors,
    simulated,
    summed_entries,
)
from lutllm.scheme import QuantizedLinear

RATE = 0.003  # a step moves an entry by about this part of its pair's root mean square
GAIN_RATE = 0.1  # of that, for scales
POINT_RATE = 0.01  # a step moves a point by about this part of what codes are apart
WARM_UP = 0.1  # of the steps
BETAS = (0.9, 0.98)
EPSILON = 1e-15  # far below any gradient of a mean over tokens
ASSIGN = 4  # steps between two choices of codes
AT_ONCE = 1 << 25  # distances worked on together
REPORT = 16  # steps between two lines, and at least between two checkpoints
KEEP = 60.0  # seconds, at least, between two checkpoints
MOMENTS = ("exp_avg", "exp_avg_sq")


class TrainedLinear:
    """A simulated linear whose entries and scales move, and codes where the float `weight` is given. Arrays of entries
    and points are [2, ...], a row for each channel of a pair, in units of the pair's root mean square entry."""

    def __init__(self, linear: QuantizedLinear, part: SimulatedLinear, weight: torch.Tensor | None = None) -> None:
        device = part.columns.device
        self.linear, self.part = linear, part
        self.limit = (1 << (linear.scheme.weight_bits - 1)) - 1
        self.pairs, self.outputs, self.stages = linear.pairs, linear.outputs, linear.scheme.R
        self.index = entry_index(linear).to(device)
        self.factors = torch.from_numpy(pair_factors(linear)).to(device)
        self.scale = torch.from_numpy(output_factors(linear)).to(device)
        entries = entry_planes(linear.weight_codebook).to(device).reshape(2, self.pairs, -1)
        self.size = entries.square().mean(dim=(0, 2)).sqrt() + 1e-3  # [P]
        self.entries = torch.nn.Parameter(entries / self.size[:, None])
        self.gain = torch.nn.Parameter(torch.ones(self.outputs, device=device))
        self.points = None if weight is None else torch.nn.Parameter(self._points(weight))
        self.apart = 2.0 ** (-self.stages * linear.scheme.code_bits / 2)  # codes, about
        part.columns.requires_grad_(True)
        self.rebuild()

    def _points(self, weight: torch.Tensor) -> torch.Tensor:
        """Where a pair's weights have the code it has, they; else the sum of its entries."""
        sums = summed_entries(self.rounded.reshape(2, -1), self.index)
        factors = self.factors[:, None] * self.scale * self.size[:, None]
        points = (weight.float().T.reshape(self.pairs, 2, self.outputs).transpose(0, 1) / factors).contiguous()
        before = self.index.clone()
        self.assign(points)
        same = (self.index == before).all(dim=0)
        self.index = before
        return torch.where(same, points, sums)

    @property
    def rounded(self) -> torch.Tensor:
        """The entries as the integers they become, in the units of the pair: [2, P, B*R*c]."""
        with torch.no_grad():
            return (self.entries * self.size[:, None]).round().clamp(-self.limit, self.limit) / self.size[:, None]

    def assign(self, points: torch.Tensor) -> None:
        """Choose codes anew: stage after stage the entry nearest to what the other stages leave of each point."""
        s, blocks = self.linear.scheme, self.linear.blocks
        entries = self.rounded.view(2, self.pairs, blocks, self.stages, s.c_w)
        rest = points - summed_entries(self.rounded.reshape(2, -1), self.index)
        short = blocks * s.G - self.outputs
        for stage in range(self.stages):
            at = self.index[stage]
            own = self.rounded.reshape(2, -1)[:, at.reshape(-1).long()].view_as(rest)
            target = torch.nn.functional.pad(rest + own, (0, short)).view(2, self.pairs, blocks, s.G)
            book = entries[:, :, :, stage, None, :]  # [2, P, B, 1, c]
            step = max(1, AT_ONCE // (blocks * s.G * s.c_w))
            codes = torch.cat([_nearest(target[:, p : p + step], book[:, p : p + step]) for p in self._from(step)])
            first = (at - at % s.c_w).view(self.pairs, self.outputs)
            self.index[stage] = first + codes.view(self.pairs, -1)[:, : self.outputs].to(torch.int32)
            rest += own - self.rounded.reshape(2, -1)[:, self.index[stage].reshape(-1).long()].view_as(rest)

    def _from(self, step: int) -> range:
        return range(0, self.pairs, step)

    def rebuild(self) -> None:
        """Columns from entries, codes and scales."""
        sums = summed_entries(self.rounded.reshape(2, -1), self.index)
        self.part.set_columns(sums, self.factors * self.size, self.scale * self.gain.detach())

    def take_gradient(self) -> None:
        """Turn the gradient by the columns into those by entries, points and scales."""
        columns, gradient = self.part.columns, self.part.columns.grad
        assert gradient is not None
        self.gain.grad = (gradient.float() * columns.detach().float()).sum(dim=0) / self.gain.detach()
        factors = (self.factors * self.size)[:, None] * self.scale * self.gain.detach()
        by_sum = gradient.view(self.pairs, 2, self.outputs).transpose(0, 1).float() * factors
        columns.grad = None
        if self.points is not None:
            self.points.grad = by_sum
        self.entries.grad = torch.zeros_like(self.entries)
        for plane, values in zip(self.entries.grad.view(2, -1), by_sum, strict=True):
            for stage in self.index:
                plane.index_add_(0, stage.reshape(-1), values.reshape(-1))

    def quantized(self, codebook: np.ndarray | None) -> QuantizedLinear:
        """In integers; `codebook` is the input's."""
        q = self.linear
        shifts = q.shifts.astype(np.int64)
        gain = self.gain.detach().cpu().numpy()
        scale = encoded_scale(q.multiplier * gain * np.exp2(float(q.out_exponent - q.shift)))
        entries = (self.rounded * self.size[:, None]).round().to(torch.int8).cpu().numpy()
        return assemble(
            name=q.name,
            input_name=q.input_name,
            scheme=q.scheme,
            exponents=q.exponents,
            codebook=codebook,
            weight_codebook=np.ascontiguousarray(entries.reshape(2, -1).T.reshape(q.weight_codebook.shape)),
            weight_exponents=shifts[:, 1] - shifts[:, 0] - q.exponents,
            codes=self.codes,
            scale=scale,
            bias=self.part.bias.float().cpu().numpy(),
            output_peak=q.metadata["output_peak"],
            metadata=q.metadata,
        )

    @property
    def codes(self) -> np.ndarray:
        """uint8 [P, R, N]."""
        codes = (self.index % self.linear.scheme.c_w).to(torch.uint8)
        return np.ascontiguousarray(codes.cpu().numpy().transpose(1, 0, 2))

    @codes.setter
    def codes(self, codes: np.ndarray) -> None:
        chosen = torch.from_numpy(np.ascontiguousarray(codes.transpose(1, 0, 2)))
        self.index += chosen.to(self.index) - self.index % self.linear.scheme.c_w


def _nearest(target: torch.Tensor, book: torch.Tensor) -> torch.Tensor:
    """The entry of `book` [2, P, B, 1, c] nearest to each of `target` [2, P, B, G]: int64 [P, B * G]."""
    far = (target[0, ..., None] - book[0]).square_()
    rest = target[1, ..., None] - book[1]
    return far.addcmul_(rest, rest).argmin(dim=-1).flatten(1)


class TrainedInput:
    """The centroids of one input, which move; in units of the root mean square of each stage's."""

    def __init__(self, source: SimulatedInput, bits: int) -> None:
        self.source, self.limit = source, (1 << (bits - 1)) - 1
        books = source.books.float()
        self.size = books.square().mean(dim=(2, 3), keepdim=True).sqrt() + 1e-3
        self.books = torch.nn.Parameter(books / self.size)
        source.gradient = torch.zeros_like(books)

    @property
    def rounded(self) -> torch.Tensor:
        return (self.books.detach() * self.size).round().clamp(-self.limit, self.limit)

    def take_gradient(self) -> None:
        assert self.source.gradient is not None
        self.books.grad = self.source.gradient * self.size
        self.source.gradient = torch.zeros_like(self.source.gradient)

    def rebuild(self) -> None:
        self.source.set_books(self.rounded)


def divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean KL(teacher || student) of logits [..., V]."""
    log_p, log_q = torch.log_softmax(teacher.float(), dim=-1), torch.log_softmax(student.float(), dim=-1)
    total = torch.nn.functional.kl_div(log_q, log_p, log_target=True, reduction="sum")
    return total / (log_p.numel() // log_p.shape[-1])


class Distillation:
    """The training of a quantized model by windows of tokens: `step` for each batch, then `linears`.

    `module` is the float model, on the device and in the type that training is to run in; `codes` move or not.
    """

    def __init__(
        self,
        module: Any,
        linears: Mapping[str, QuantizedLinear],
        steps: int,
        *,
        codes: bool = False,
        rate: float = RATE,
    ) -> None:
        self.float, self.steps, self.count = module, steps, 0
        self.student = simulated(module, linears)
        self.parts = {
            name: TrainedLinear(
                q, self.student.get_submodule(name), module.get_submodule(name).weight if codes else None
            )
            for name, q in linears.items()
        }
        self.inputs: dict[str, TrainedInput] = {}
        for part in self.parts.values():
            source, name = part.part.source, part.linear.input_name
            if source is not None and name not in self.inputs:
                self.inputs[name] = TrainedInput(source, part.linear.scheme.act_bits)
        parts = self.parts.values()
        groups = [
            ([p.entries for p in parts] + [i.books for i in self.inputs.values()], rate),
            ([p.gain for p in parts], rate * GAIN_RATE),
            *(([p.points], POINT_RATE * p.apart) for p in parts if p.points is not None),
        ]
        self.rates = [each for _, each in groups]
        moving = [{"params": params, "lr": lr} for params, lr in groups]
        self.optimizer = torch.optim.Adam(moving, betas=BETAS, eps=EPSILON, fused=True)

    def step(self, windows: np.ndarray) -> float:
        """One step on token ids [T] or [windows, T]; the divergence before it."""
        ids = token_ids(windows, self.float.device)
        with torch.no_grad():
            teacher = self.float(ids, use_cache=False).logits
        loss = divergence(self.student(ids, use_cache=False).logits, teacher)
        loss.backward()
        self.count += 1
        for moving in self._moving():
            moving.take_gradient()
        share = min(1.0, self.count / (WARM_UP * self.steps))
        share *= 0.5 * (1 + math.cos(math.pi * self.count / (self.steps + 1)))
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * share
        self.optimizer.step()
        if self.count % ASSIGN == 0 or self.count == self.steps:
            for part in self.parts.values():
                if part.points is not None:
                    part.assign(part.points.detach())
        for moving in self._moving():
            moving.rebuild()
        return float(loss.detach())

    def linears(self) -> dict[str, QuantizedLinear]:
        """The trained linears in integers, their ranges proven anew."""
        books = {name: i.rounded.cpu().numpy().astype(np.int16) for name, i in self.inputs.items()}
        return {name: part.quantized(books.get(part.linear.input_name)) for name, part in self.parts.items()}

    def state(self) -> dict[str, np.ndarray]:
        """Everything that moves; of a finished run without the optimizer's moments and the points."""
        found = {"count": np.array([self.count])}
        found |= {f"{name}.codes": part.codes for name, part in self.parts.items()}
        for name, value in self._trained():
            if self.count < self.steps:
                found |= {f"{name}.{key}": self.optimizer.state[value][key].cpu().numpy() for key in MOMENTS}
            elif name.endswith(".points"):
                continue
            found[name] = value.detach().cpu().numpy()
        return found

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a `state`."""
        self.count = int(state["count"][0])
        for name, part in self.parts.items():
            part.codes = state[f"{name}.codes"]
        with torch.no_grad():
            for name, value in self._trained():
                if name in state:
                    value.copy_(torch.from_numpy(state[name]))
                if self.count < self.steps:
                    kept = {key: torch.from_numpy(state[f"{name}.{key}"]).to(value.device) for key in MOMENTS}
                    step = torch.tensor(float(self.count), device=value.device)
                    self.optimizer.state[value] = {"step": step, **kept}
        for moving in self._moving():
            moving.rebuild()

    def _moving(self) -> list[TrainedLinear | TrainedInput]:
        return [*self.parts.values(), *self.inputs.values()]

    def _trained(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        for name, part in self.parts.items():
            yield f"{name}.entries", part.entries
            yield f"{name}.gain", part.gain
            if part.points is not None:
                yield f"{name}.points", part.points
        for name, trained in self.inputs.items():
            yield f"{name}.books", trained.books


def distill(
    module: Any,
    linears: Mapping[str, QuantizedLinear],
    windows: np.ndarray | Sequence[np.ndarray],
    *,
    batch: int = 1,
    codes: bool = False,
    checkpoint: Path | None = None,
    progress: bool = True,
) -> dict[str, QuantizedLinear]:
    """`linears` after one step for each `batch` windows, on the device that `module` is on; `codes` move or not.
    `checkpoint` is a file that an interrupted run goes on from."""
    steps = -(-len(windows) // batch)
    training = Distillation(module, linears, steps, codes=codes)
    if checkpoint is not None and store.sealed(checkpoint):
        kept = store.load(checkpoint)
        training.restore({name: kept[name] for name in kept})
    start, first, losses = time.monotonic(), training.count, []
    kept_at = start
    for at in range(first * batch, len(windows), batch):
        losses.append(training.step(np.asarray(windows[at : at + batch])))
        done = training.count
        if done % REPORT == 0 or done == steps:
            left = (time.monotonic() - start) / (done - first) * (steps - done)
            loss = float(np.mean(losses[-REPORT:]))
            note(f"distillation [{done}/{steps}] divergence {loss:.4f}, about {left:.0f} s left", quiet=not progress)
            if checkpoint is not None and (done == steps or time.monotonic() - kept_at >= KEEP):
                store.save(checkpoint, training.state())
                store.seal(checkpoint)
                kept_at = time.monotonic()
    return training.linears()
