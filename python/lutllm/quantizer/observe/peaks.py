"""The largest values of a model: a torch module, its float graph and windows of tokens in, peaks by op name out.

A value is seen where PyTorch passes it on: as the result or the input of the module that an op's name is the path of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from lutllm.bindings import ir, source_position
from lutllm.dialect import (
    FloatAddOp,
    FloatAttentionOp,
    FloatEmbeddingOp,
    FloatLinearOp,
    FloatNormOp,
    FloatRopeOp,
    FloatSliceOp,
)
from lutllm.errors import InputError
from lutllm.interpreter.floats import rotation_pairs
from lutllm.lowering.quantize.graph import FloatGraph, maker, name_of
from lutllm.quantizer.observe.recording import Stop, run_window

_MODULES = (FloatEmbeddingOp, FloatNormOp, FloatLinearOp)


class Source(NamedTuple):
    """The result of a module, or its input, times a number; of the result `parts`, each (groups, start, channels)."""

    path: str
    result: bool
    scale: float = 1.0
    parts: tuple[tuple[int, int, int], ...] = ()

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        for groups, start, channels in self.parts:
            grouped = tensor.unflatten(-1, (groups, -1))
            tensor = grouped[..., start : start + channels // groups].flatten(-2)
        return tensor if self.scale == 1.0 else tensor * self.scale


@dataclass
class _Watched:
    """A value that is the sum of what its sources pass on; `then` is told of it."""

    sources: tuple[Source, ...]
    then: Callable[[torch.Tensor], None]
    parts: dict[Source, torch.Tensor] = field(default_factory=dict)

    def see(self, source: Source, tensor: torch.Tensor) -> None:
        tensor = source.of(tensor)
        if len(self.sources) == 1:
            self.then(tensor)
            return
        self.parts[source] = tensor
        if len(self.parts) == len(set(self.sources)):
            first, *others = (self.parts[each] for each in self.sources)
            self.then(sum(others, first))
            self.parts = {}


class Peaks:
    """The largest values seen: |y| of each norm and each sum, and for each channel [heads, head_dim] of queries and
    keys after any rotation, and of values, by (attention, "query", "key" or "value")."""

    def __init__(self, graph: FloatGraph) -> None:
        self.norms: dict[str, float] = {}
        self.adds: dict[str, float] = {}
        self.channels: dict[tuple[str, str], np.ndarray] = {}
        self._graph = graph
        self._watched: dict[Source, list[_Watched]] = {}
        self._left = 0
        for norm in graph.of(FloatNormOp):
            self._watch(norm.y, self._largest(self.norms, name_of(norm)))
        for add in graph.of(FloatAddOp):
            self._watch(add.y, self._largest(self.adds, name_of(add)))
        for attention in graph.of(FloatAttentionOp):
            kv_heads = int(attention.kv_heads.value)
            self._heads(attention, "query", attention.query, int(attention.heads.value))
            self._heads(attention, "key", attention.keys, kv_heads)
            self._heads(attention, "value", attention.values, kv_heads)

    def _heads(self, attention: FloatAttentionOp, part: str, value: ir.Value, heads: int) -> None:
        key, rope, channels = (name_of(attention), part), maker(value), value.type.shape[1]
        rotated = isinstance(rope, FloatRopeOp)
        peak = _rotated(rope) if rotated else _straight

        def then(y: torch.Tensor) -> None:
            now = peak(y.reshape(-1, heads, channels // heads))
            self.channels[key] = np.maximum(self.channels.get(key, 0.0), now)

        self._watch(rope.x if rotated else value, then)

    def _largest(self, where: dict[str, float], name: str) -> Callable[[torch.Tensor], None]:
        def then(y: torch.Tensor) -> None:
            where[name] = max(where.get(name, 0.0), float(y.abs().max()))

        return then

    def _watch(self, value: ir.Value, then: Callable[[torch.Tensor], None]) -> None:
        watched = _Watched(tuple(sources(self._graph, value)), then)
        for source in dict.fromkeys(watched.sources):
            self._watched.setdefault(source, []).append(watched)

    def record(self, module: Any, windows: Iterable[np.ndarray]) -> None:
        """Run windows through `module`, each as far as something is watched."""
        handles = [self._hook(module, source) for source in self._watched]
        try:
            for window in windows:
                self._left = len(self._watched)
                try:
                    run_window(module, window)
                except Stop:
                    continue
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, module: Any, source: Source) -> Any:
        part = find_module(module, source.path)
        if source.result:
            return part.register_forward_hook(lambda _module, _args, output: self._see(source, output))
        return part.register_forward_pre_hook(lambda _module, args: self._see(source, args[0]))

    def _see(self, source: Source, tensor: torch.Tensor) -> None:
        for watched in self._watched[source]:
            watched.see(source, tensor.detach())
        self._left -= 1
        if not self._left:
            raise Stop


def find_module(module: Any, path: str) -> Any:
    """The module that an op's name is the path of."""
    try:
        return module.get_submodule(path)
    except AttributeError:
        raise InputError(
            f"'{path}': expected a module of this path that is called once, got none; make this op a module of its own"
        ) from None


def sources(graph: FloatGraph, value: ir.Value) -> list[Source]:
    """Where PyTorch passes a value on; of a sum that no module reads, where its terms are."""
    op = maker(value)
    if isinstance(op, _MODULES):
        return [Source(name_of(op), True, op.number("scale", 1.0))]
    if isinstance(op, FloatSliceOp):
        part = int(op.groups.value), int(op.start.value), op.y.type.shape[1]
        return [source._replace(parts=(*source.parts, part)) for source in sources(graph, op.x)]
    reader = next((op for op in graph.readers(value) if isinstance(op, _MODULES)), None)
    if reader is not None:
        return [Source(name_of(reader), False)]
    if isinstance(op, FloatAddOp):
        return [*sources(graph, op.a), *sources(graph, op.b)]
    at = graph.function if op is None else op
    raise InputError(
        f"expected a module that makes or reads the result of '{at.operation.name}', so that its size can be seen, "
        "got none; make a norm or a linear a module of its own",
        location=source_position(at.operation.location),
    )


def _straight(y: torch.Tensor) -> np.ndarray:
    """[tokens, heads, head_dim] -> [heads, head_dim]."""
    return y.abs().amax(dim=0).float().numpy()


def _rotated(rope: FloatRopeOp) -> Callable[[torch.Tensor], np.ndarray]:
    """The radius of two channels that RoPE rotates into each other, times its scale; the size of any other channel."""
    channels = rope.x.type.shape[1] // int(rope.heads.value)
    pairs = int(rope.number("rotated", channels)) // 2
    first, second = rotation_pairs(pairs, "interleaved" in rope.attributes)
    scale = float(rope.scale.value)

    def peak(y: torch.Tensor) -> np.ndarray:
        x = y.float()
        found = x.abs().amax(dim=0)
        radius = torch.hypot(x[..., first], x[..., second]).amax(dim=0) * scale
        found[..., first], found[..., second] = radius, radius
        return found.numpy()

    return peak
