"""Physical layouts: where hardware keeps a tensor's channels. Shapes in, permutations out, and linears relaid by them.

A layout is an array: for each physical channel its logical channel, or -1 for padding, which hardware holds at zero.
The image generator relays everything a linear has; hardware knows nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lutllm.errors import CapacityError
from lutllm.scheme import QuantizedLinear

PAD = -1


@dataclass(frozen=True, eq=False)
class Layout:
    """`channels`: physical -> logical channel or PAD. `block`: physical channels of a codebook block, of all but the
    last; for what no linear puts out all there are."""

    channels: np.ndarray
    block: int

    @property
    def size(self) -> int:
        """Physical channels."""
        return len(self.channels)

    @property
    def present(self) -> np.ndarray:
        """Physical channels that are not padding."""
        return np.flatnonzero(self.channels != PAD)

    def place(self, values: np.ndarray, axis: int = -1) -> np.ndarray:
        """`values` by logical channel along `axis` -> by physical channel, zero where there is padding."""
        placed = np.take(values, np.maximum(self.channels, 0), axis=axis)
        np.moveaxis(placed, axis, -1)[..., self.channels == PAD] = 0
        return placed

    def pick(self, values: np.ndarray) -> np.ndarray:
        """The inverse along the last axis: by physical channel -> by logical channel."""
        present = self.present[::-1]  # where channels repeat, the first one counts
        result = np.zeros((*values.shape[:-1], int(self.channels.max()) + 1), values.dtype)
        result[..., self.channels[present]] = values[..., present]
        return result

    def same(self, other: Layout) -> bool:
        return np.array_equal(self.channels, other.channels)


def one_head(head_dim: int, head_lanes: int, *, interleaved: bool) -> np.ndarray:
    """The channels of one head, padded to whole beats of `head_lanes`. `interleaved`: the two channels that RoPE turns
    together, i and i + head_dim / 2, stand side by side."""
    channels = np.full(-(-head_dim // head_lanes) * head_lanes, PAD)
    channels[:head_dim] = np.arange(head_dim)
    if interleaved:
        channels[0:head_dim:2] = np.arange(head_dim // 2)
        channels[1:head_dim:2] = np.arange(head_dim // 2) + head_dim // 2
    return channels


def heads_layout(heads: int, head: np.ndarray) -> Layout:
    """`heads` heads laid out like `head`, one after the other: attention's output."""
    channels = _repeat(head, heads)
    return Layout(channels, len(channels))


def outputs_layout(name: str, outputs: int, block: int, lanes: int, head: np.ndarray | None = None) -> Layout:
    """What linear `name` puts out: each codebook block of `block` outputs padded to whole chunks of `lanes`.

    With `head`, blocks hold whole heads laid out like it. Raises `CapacityError` where they cannot.
    """
    unit = np.zeros(1, np.int64) if head is None else head
    channels = int(unit.max()) + 1
    block = min(block, outputs)
    if block < outputs and head is not None:
        if block % channels:
            raise CapacityError(
                f"{name}: expected codebook blocks of whole heads of {channels} outputs, got blocks of {block}; "
                f"quantize with blocks of a multiple of {channels}, or of at least {outputs}"
            )
        if block // channels * len(unit) % lanes:  # a gap between two heads is a gap in what engine heads counts
            raise CapacityError(
                f"{name}: expected codebook blocks of whole chunks of {lanes} channels, got "
                f"{block // channels * len(unit)} for {block // channels} heads; "
                f"quantize with other blocks, or of at least {outputs}"
            )
    parts = []
    for first in range(0, outputs, block):
        units = -(-min(block, outputs - first) // channels)
        part = _repeat(unit, units)
        part[part != PAD] += first
        parts.append(np.pad(part, (0, -len(part) % lanes), constant_values=PAD))
    return Layout(np.concatenate(parts), len(parts[0]))


def logits_layout(name: str, outputs: int, block: int, lanes: int) -> Layout:
    """What the LM head puts out: a channel's place is its token. Padding repeats the last channel, so that it can only
    tie with a lower token, which wins; no bias makes it the smallest value whatever the shift."""
    block = min(block, outputs)
    if block < outputs and block % lanes:
        raise CapacityError(
            f"{name}: expected codebook blocks of whole chunks of {lanes} outputs, got blocks of {block}; quantize the "
            f"LM head with blocks of a multiple of {lanes}, or of at least {outputs}"
        )
    size = -(-outputs // lanes) * lanes
    return Layout(np.minimum(np.arange(size), outputs - 1), block if block < outputs else size)


def check_pairs(name: str, layout: Layout) -> Layout:
    """`layout`, or a `CapacityError` naming linear `name`, whose input it is to be, where pairs are torn apart."""
    first, second = layout.channels.reshape(-1, 2).T
    whole = np.where(first == PAD, second == PAD, (first % 2 == 0) & (second == first + 1))
    if not whole.all():
        at = int(first[int(np.argmin(whole))])
        raise CapacityError(
            f"{name}: expected input channels in pairs, got {at} without {at ^ 1}; quantize the linear before it with "
            "blocks of an even number of outputs"
        )
    return layout


def relaid(linear: QuantizedLinear, inputs: Layout, outputs: Layout) -> QuantizedLinear:
    """The same linear on physical channels: for inputs laid out like `inputs` it puts out what `outputs` says.

    Pairs of padding have zero centroids, weights and shifts, outputs of padding multiplier and bias 0.
    """
    pairs = Layout(check_pairs(linear.name, inputs).channels[::2] // 2, 0)  # PAD // 2 is PAD

    def by_pair(values: np.ndarray) -> np.ndarray:
        return values if _identity(pairs, linear.pairs) else pairs.place(values, axis=0)

    codes = by_pair(linear.codes)
    return replace(
        linear,
        scheme=linear.scheme.with_(G=outputs.block),
        exponents=by_pair(linear.exponents),
        codebook=None if linear.codebook is None else by_pair(linear.codebook),
        weight_codebook=by_pair(linear.weight_codebook),
        codes=codes if _identity(outputs, linear.outputs) else outputs.place(codes),
        shifts=by_pair(linear.shifts),
        multiplier=outputs.place(linear.multiplier),
        bias=outputs.place(linear.bias),
        tables=None if linear.tables is None else by_pair(linear.tables),
    )


def _identity(layout: Layout, size: int) -> bool:
    """Whether nothing moves; codes of a large model are worth not copying."""
    return layout.size == size and np.array_equal(layout.channels, np.arange(size))


def _repeat(unit: np.ndarray, count: int) -> np.ndarray:
    """`count` units one after the other, each with logical channels of its own."""
    channels = np.tile(unit, (count, 1))
    return np.where(channels == PAD, PAD, channels + np.arange(count)[:, None] * (int(unit.max()) + 1)).reshape(-1)
