"""`lut.layout` as plain data: where hardware keeps the channels of a tensor, and linears relaid by it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from lutllm import dialect
from lutllm.dialect.machines import builders as build
from lutllm.scheme import QuantizedLinear

PAD = -1


@dataclass(frozen=True)
class Layout:
    """The attributes of a `lut.layout`, which says what they are."""

    channels: int
    unit: int
    unit_size: int
    interleaved: int
    block: int
    pad: int
    repeat: int = 0

    @classmethod
    def of(cls, op: dialect.LayoutOp) -> Layout:
        return cls(**{field.name: int(op.attributes[field.name].value) for field in fields(cls)})

    def write(self, name: str) -> None:
        build.layout(name, **{field.name: getattr(self, field.name) for field in fields(self)})

    @property
    def name(self) -> str:
        """Short, and another one for another layout."""
        parts = [f"c{self.channels}"]
        if (self.unit, self.unit_size) != (1, 1):
            turned = f"i{self.interleaved}of" if 0 < self.interleaved < self.unit else "i" if self.interleaved else "u"
            parts.append(f"{turned}{self.unit}_{self.unit_size}")
        parts += [f"b{self.block}"] if self.block < self.channels else []
        return "_".join([*parts, f"p{self.pad}", *(["r"] if self.repeat else [])])

    @cached_property
    def places(self) -> np.ndarray:
        """For each place its channel, or PAD."""
        unit = np.full(self.unit_size, PAD)
        unit[: self.unit] = np.arange(self.unit)
        half = self.interleaved // 2
        unit[0 : 2 * half : 2], unit[1 : 2 * half : 2] = np.arange(half), np.arange(half) + half
        parts = []
        for first in range(0, self.channels, self.block):
            units = min(self.block, self.channels - first) // self.unit
            part = np.tile(unit, (units, 1))
            part = np.where(part == PAD, PAD, part + np.arange(units)[:, None] * self.unit + first).reshape(-1)
            fill = self.channels - 1 if self.repeat else PAD
            parts.append(np.pad(part, (0, -len(part) % self.pad), constant_values=fill))
        return np.concatenate(parts)

    @property
    def size(self) -> int:
        """Places."""
        return len(self.places)

    @property
    def block_size(self) -> int:
        """Places of a block, of all but the last."""
        count = min(self.block, self.channels) // self.unit * self.unit_size
        return -(-count // self.pad) * self.pad

    @property
    def pairs(self) -> np.ndarray:
        """For each pair of places its pair of channels, or PAD."""
        return self.places[::2] // 2  # PAD // 2 is PAD

    @property
    def torn(self) -> int | None:
        """A channel that does not lie beside the other one of its pair, as an input of a linear must."""
        first, second = self.places.reshape(-1, 2).T if self.size % 2 == 0 else (self.places, self.places - 2)
        whole = np.where(first == PAD, second == PAD, (first % 2 == 0) & (second == first + 1))
        return None if whole.all() else int(first[int(np.argmin(whole))])

    def place(self, values: np.ndarray, axis: int = -1) -> np.ndarray:
        """`values` by channel along `axis` -> by place, zero where there is padding."""
        return placed(self.places, values, axis)

    def pick(self, values: np.ndarray) -> np.ndarray:
        """The inverse along the last axis: by place -> by channel."""
        present = np.flatnonzero(self.places != PAD)[::-1]  # where channels repeat, the first one counts
        result = np.zeros((*values.shape[:-1], self.channels), values.dtype)
        result[..., self.places[present]] = values[..., present]
        return result


def placed(places: np.ndarray, values: np.ndarray, axis: int) -> np.ndarray:
    found = np.take(values, np.maximum(places, 0), axis=axis)
    np.moveaxis(found, axis, -1)[..., places == PAD] = 0
    return found


def taken(linear: QuantizedLinear, channels: range | np.ndarray) -> QuantizedLinear:
    """The linear that computes some of its outputs, of each codebook block all or, of the only one, any."""
    if len(channels) == linear.outputs:
        return linear
    blocks = np.asarray(channels)[:: linear.scheme.G] // linear.scheme.G
    return replace(
        linear,
        weight_codebook=linear.weight_codebook[:, blocks],
        codes=linear.codes[..., channels],
        multiplier=linear.multiplier[channels],
        bias=linear.bias[channels],
        tables=None if linear.tables is None else linear.tables[:, blocks],
    )


def relaid(linear: QuantizedLinear, inputs: Layout, outputs: Layout) -> QuantizedLinear:
    """The same linear on places: for inputs laid out like `inputs` it puts out what `outputs` says.

    Pairs of padding have zero centroids, weights and shifts, outputs of padding multiplier and bias 0; where padding
    repeats a channel, it repeats its codes, and so ties with it.
    """

    def by_pair(values: np.ndarray) -> np.ndarray:
        return values if _identity(inputs.pairs, linear.pairs) else placed(inputs.pairs, values, 0)

    codes = by_pair(linear.codes)
    return replace(
        linear,
        scheme=linear.scheme.with_(G=outputs.block_size),
        exponents=by_pair(linear.exponents),
        codebook=None if linear.codebook is None else by_pair(linear.codebook),
        weight_codebook=by_pair(linear.weight_codebook),
        codes=codes if _identity(outputs.places, linear.outputs) else outputs.place(codes),
        shifts=by_pair(linear.shifts),
        multiplier=outputs.place(linear.multiplier),
        bias=outputs.place(linear.bias),
        tables=None if linear.tables is None else by_pair(linear.tables),
    )


def _identity(places: np.ndarray, size: int) -> bool:
    """Whether nothing moves; codes of a large model are worth not copying."""
    return len(places) == size and np.array_equal(places, np.arange(size))
