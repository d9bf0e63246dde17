"""Stream p: what vector engines take for each word of channels - a value and a right shift a lane - as bytes.

A cluster, its layout and the arrays it names in, the bytes of its region out. Lanes of padding are zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutllm.dialect import exponent_of, exponents_of
from lutllm.errors import CapacityError, NumericsError
from lutllm.functions import RECIPROCAL_FRACTION
from lutllm.lowering.hardware.lib.functions import FRACTION_BITS
from lutllm.lowering.machine.accelerator import LEFT, RIGHT_BITS, VALUE_BITS
from lutllm.lowering.place.clusters import Cluster, head_count
from lutllm.lowering.place.layouts import PAD, Layout, placed
from lutllm.lowering.place.patterns import NORM_ADD
from lutllm.lowering.schedule.fields import MOST_RIGHT, Places, items_of, order_of_items
from lutllm.numerics import check_range, fits

LENGTH_LIMIT = 37  # of attention's sum of weights: at most 2**15 for each of 2**20 positions


@dataclass(frozen=True)
class VectorParameters:
    """Makes regions of kind p."""

    places: Places
    tensors: Mapping[str, np.ndarray]

    def image(self, cluster: Cluster) -> np.ndarray:
        """The bytes of the region that a cluster takes its parameters from."""
        made = {"norm": self._norm, "heads": self._heads, "swiglu": self._swiglu, "attention": self._attention}
        return made["norm" if cluster.engines == NORM_ADD else cluster.last](cluster)

    def _norm(self, cluster: Cluster) -> np.ndarray:
        norm, rescale = cluster.find("lut.rms_norm"), cluster.find("lut.rescale")
        layout = self.places.layout(cluster)
        nothing = np.zeros(layout.channels, np.int64)
        gain = nothing if norm is None else self.tensors[norm.gain.value]
        right = nothing if rescale is None else self._rights(exponent_of(rescale.x), rescale)
        lanes = self._lanes(cluster, gain, right, layout)
        bias = None if norm is None else norm.optional("bias")
        if bias is not None:  # a word of them before each word of gains
            words = (layout.place(self.tensors[bias.value].astype(np.int64)) & 0xFFFFFFFF, lanes)
            lanes = np.stack([word.reshape(-1, self.places.config.lanes) for word in words], axis=1)
        return _bytes(lanes)

    def _heads(self, cluster: Cluster) -> np.ndarray:
        """For each head its words: gain of its norm where it has one, and the shift to the exponents of the result."""
        norm, rescale = cluster.find("lut.rms_norm"), cluster.find("lut.rescale")
        layout, count = self.places.layout(cluster), head_count(cluster)
        gain = np.zeros(layout.unit, np.int64) if norm is None else self.tensors[norm.gain.value]
        gain = np.resize(gain, layout.channels)  # the same for each head, or those of all
        lanes = self._lanes(cluster, gain, self._rights(exponent_of(rescale.x), rescale), layout)
        return _bytes(lanes[: count * layout.unit_size])

    def _swiglu(self, cluster: Cluster) -> np.ndarray:
        op = cluster.find("lut.swiglu")
        right = self._rights(exponent_of(op.gate) + (0 if op.up is None else exponent_of(op.up)), op)
        return _bytes(self._lanes(cluster, np.zeros_like(right), right, self.places.layout(cluster)))

    def _attention(self, cluster: Cluster) -> np.ndarray:
        """For each item a word with each of its heads' multipliers, then each head's shifts, to which hardware adds the
        length of the sum of weights."""
        op, layout, lanes = cluster.find("lut.attention"), self.places.layout(cluster), self.places.config.lanes
        heads, kv_heads = int(op.heads.value), int(op.kv_heads.value)
        items, reps = items_of(cluster, self.places.config)
        of_value = _channels(self.tensors[exponents_of(op.values)]).reshape(kv_heads, -1)
        of_heads = np.repeat(of_value, heads // kv_heads, axis=0).reshape(-1)
        right = LEFT - (of_heads - _channels(self.tensors[exponents_of(op.y)]) - RECIPROCAL_FRACTION)
        if right.min() < 0:
            least, got = -LEFT - RECIPROCAL_FRACTION, int(right.min()) - LEFT - RECIPROCAL_FRACTION
            raise CapacityError(
                f"{cluster.label}: expected exponents of attention's output at least {least} above those of its "
                f"values, got {got}; quantize with closer exponents"
            )
        right = np.minimum(right, MOST_RIGHT - LENGTH_LIMIT)  # then nothing is left of a sum
        shifts = self._lanes(cluster, np.zeros_like(right), right, layout).reshape(kv_heads * items, -1, lanes)
        multipliers = np.zeros((heads, lanes), np.int64)
        multipliers[:, 0] = self.tensors[op.multiplier.value]
        first = _pack(cluster.label, multipliers, np.zeros_like(multipliers)).reshape(kv_heads * items, reps, -1)
        order = order_of_items(kv_heads, items, self.places.config)
        return _bytes(np.concatenate([first, shifts], axis=1)[order])

    def rotations(self, cluster: Cluster, positions: int) -> np.ndarray:
        """Of a cluster with RoPE, for each position and word the cosine and sine of each pair of lanes, 16 bits each,
        in its lower half; of a pair that is not turned 1 and 0."""
        op: Any = cluster.find("lut.rope")
        cosines, sines = (self.tensors[s.value][:positions].astype(np.int64) for s in (op.cosines, op.sines))
        layout, lanes = self.places.layout(cluster), self.places.config.lanes
        unit = layout.places[: layout.unit_size : 2]
        pairs = np.where(unit == PAD, PAD, np.arange(len(unit)))
        both = cosines & 0xFFFF | (sines & 0xFFFF) << 16
        still = np.full((positions, layout.unit // 2 - both.shape[1]), 1 << FRACTION_BITS)
        both = placed(pairs, np.concatenate([both, still], axis=1), -1).reshape(positions, -1, lanes // 2)
        return _bytes(np.pad(both, ((0, 0), (0, 0), (0, lanes // 2))))

    def _rights(self, exponent: int, op: Any) -> np.ndarray:
        """Right shifts to the exponents of the result of `op`. Results saturate to 16 bits at most: beyond these ends
        nothing changes."""
        return np.clip(LEFT - (exponent - _channels(self.tensors[exponents_of(op.y)])), 0, MOST_RIGHT)

    def _lanes(self, cluster: Cluster, values: np.ndarray, right: np.ndarray, layout: Layout) -> np.ndarray:
        """Lanes in physical order, from values and shifts by channel."""
        return _pack(cluster.label, layout.place(values), layout.place(right))


def embedding_image(rows: np.ndarray, multiplier: np.ndarray, name: str, layout: Layout, lanes: int) -> np.ndarray:
    """For each token a word with its multiplier in the low 16 bits, then its row of int8 channels."""
    check_range(multiplier, 0, (1 << 15) - 1, f"multipliers of {name}")
    image = np.zeros((len(rows), lanes + layout.size), np.uint8)
    image[:, :2] = multiplier.astype("<u2").view(np.uint8).reshape(-1, 2)
    image[:, lanes:] = layout.place(rows).view(np.uint8)
    return image.reshape(-1)


def _channels(exponents: np.ndarray) -> np.ndarray:
    return np.repeat(exponents.astype(np.int64), 2)


def _pack(name: str, values: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Values and right shifts to lanes of 32 bits."""
    if not fits(values, VALUE_BITS):
        raise NumericsError(
            f"{name}: expected values of {VALUE_BITS} bits, got {values.min()}..{values.max()}; quantize again"
        )
    assert right.size == 0 or 0 <= right.min() <= right.max() < 1 << RIGHT_BITS
    return values & (1 << VALUE_BITS) - 1 | right << VALUE_BITS


def _bytes(lanes: np.ndarray) -> np.ndarray:
    return lanes.astype("<u4").view(np.uint8).reshape(-1)
