"""What the dimensions of a tensor are: axes and a reshape, a permutation or a broadcast in, the axes after it out.

A dimension is a tuple of axes, outermost first; a size of 1 has none. So a head is recognised by the channels it is
made of, however a model spells its views and transpositions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class Axis:
    """`size` steps, each `stride` entries of `label`: heads of 8 channels are steps of stride 8 along the channels."""

    label: str
    size: int
    stride: int = 1


Dimension = tuple[Axis, ...]
Axes = tuple[Dimension, ...]


def axis(label: str, size: int) -> Dimension:
    """A whole dimension of one kind."""
    return (Axis(label, size),) if size > 1 else ()


def flat(axes: Axes) -> Dimension:
    """All axes as one dimension, neighbours joined where together they run through one range."""
    joined: list[Axis] = []
    for a in (a for dimension in axes for a in dimension):
        last = joined[-1] if joined else None
        if last is not None and last.label == a.label and last.stride == a.size * a.stride:
            joined[-1] = Axis(a.label, last.size * a.size, a.stride)
        else:
            joined.append(a)
    return tuple(joined)


def size_of(axes: Axes, label: str) -> int:
    """How many entries of `label` a tensor holds."""
    return prod(a.size for dimension in axes for a in dimension if a.label == label)


def reshaped(axes: Axes, sizes: Sequence[int]) -> Axes | None:
    """The axes after a reshape to `sizes`; None where an axis would be cut into parts that do not divide it."""
    left = list(reversed(flat(axes)))
    found: list[Dimension] = []
    for size in sizes:
        dimension: list[Axis] = []
        while size > 1:
            if not left:
                return None
            a = left.pop()
            if size % a.size == 0:
                size //= a.size
            elif a.size % size == 0:
                inner = a.size // size
                left.append(Axis(a.label, inner, a.stride))
                a, size = Axis(a.label, size, a.stride * inner), 1
            else:
                return None
            dimension.append(a)
        found.append(flat((tuple(dimension),)))
    return None if left else tuple(found)


def broadcast(axes: Axes, sizes: Sequence[int]) -> Axes | None:
    """The axes after a broadcast to `sizes`: what is new is a `repeat`."""
    padded: Axes = ((),) * (len(sizes) - len(axes)) + axes
    found = []
    for dimension, size in zip(padded, sizes, strict=True):
        if dimension and prod(a.size for a in dimension) != size:
            return None
        found.append(dimension or axis("repeat", size))
    return tuple(found)


def fits_in(small: Axes, large: Axes) -> bool:
    """Whether `small`, broadcast, lies along the same axes as `large`."""
    padded: Axes = ((),) * (len(large) - len(small)) + small
    return len(padded) == len(large) and all(not s or s == b for s, b in zip(padded, large, strict=True))


def are_rows(axes: Axes, channels: int) -> bool:
    """Whether a tensor is [..., T, channels], all channels of one token in a row; sizes of 1 before."""
    tokens = flat(axes[-2:-1])
    whole = len(axes) >= 2 and not any(axes[:-2]) and axes[-1] == axis("channel", channels)
    return whole and len(tokens) <= 1 and all(a.label == "tokens" for a in tokens)
