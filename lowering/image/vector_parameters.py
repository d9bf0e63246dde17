"""Stream p: what vector engines take for each word of channels - a value and a right shift a lane - as bytes.

Quantized parts of a decoder and layouts in, the bytes of a region of kind p out. Lanes of padding are zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lutllm.decoder import Attention, Layer, Norm, QuantizedDecoder, QuantizedNorm
from lutllm.errors import CapacityError, InputError, NumericsError
from lutllm.lowering.accelerator import LEFT, RIGHT_BITS, VALUE_BITS
from lutllm.lowering.layout.channels import Layout, heads_layout
from lutllm.lowering.layout.decoder import DecoderLayout
from lutllm.lowering.plan.data import Plan
from lutllm.lowering.plan.memory import ROTATIONS
from lutllm.lowering.plan.tasks import MOST_RIGHT
from lutllm.numerics import fits

LENGTH_LIMIT = 37  # of attention's sum of weights: at most 2**15 for each of 2**20 positions
RECIPROCAL_BITS = 15


@dataclass(frozen=True)
class VectorParameters:
    """Makes every region of kind p of a plan."""

    plan: Plan
    decoder: QuantizedDecoder
    layout: DecoderLayout

    def images(self) -> Mapping[str, np.ndarray]:
        """The bytes of each region by name."""
        q, d = self.decoder, self.decoder.decoder
        found = {ROTATIONS: self.rotations()}
        for layer in d.layers:
            a = layer.attention
            found[f"{layer.input_norm.name}.p"] = self.norm(layer.input_norm, a.query)
            found[f"{layer.mlp_norm.name}.p"] = self.norm(layer.mlp_norm, layer.gate)
            own = q.attentions[a.name]
            for part, linear, norm, exponents in (
                ("query", a.query, a.query_norm, own.query_exponents),
                ("key", a.key, a.key_norm, own.key_exponents),
                ("value", a.value, None, own.value_exponents),
            ):
                found[f"{a.name}.{part}.p"] = self.heads(a, part, linear, norm, exponents)
            found[f"{layer.down.rpartition('.')[0]}.p"] = self.swiglu(layer)
        found[f"{d.final_norm.name}.p"] = self.norm(d.final_norm, d.head)
        for task in self.plan.tasks:
            if task.engine == "attention" and task.parameters is not None and task.parameters.region not in found:
                a = next(layer.attention for layer in d.layers if layer.attention.name == task.source)
                found[task.parameters.region] = self.attention(a, task.fields["items"], task.fields["reps"])
        return found

    def norm(self, norm: Norm, reader: str) -> np.ndarray:
        own = self.decoder.norms[norm.name]
        right = _rights(own.exponent - _channels(self.decoder.linears[reader].exponents))
        return self.words(norm.name, own.gain, right, self.layout.residual)

    def heads(self, a: Attention, part: str, linear: str, norm: Norm | None, exponents: np.ndarray) -> np.ndarray:
        """For each head its words: gain of its norm where it has one, and the shift to the exponents of the cache."""
        count = a.heads if part == "query" else a.kv_heads
        head = self.layout.value_head if part == "value" else self.layout.head
        own: QuantizedNorm | None = None if norm is None else self.decoder.norms[norm.name]
        source = int(self.decoder.linears[linear].out_exponent) if own is None else own.exponent
        gain = np.zeros(a.head_dim, np.int64) if own is None else own.gain
        right = _rights(source - _channels(exponents))
        return self.words(linear, np.tile(gain, count), right, heads_layout(count, head))

    def swiglu(self, layer: Layer) -> np.ndarray:
        linears = self.decoder.linears
        product = int(linears[layer.gate].out_exponent) + int(linears[layer.up].out_exponent)
        right = _rights(product - _channels(linears[layer.down].exponents))
        return self.words(layer.down, np.zeros_like(right), right, self.layout.outputs[layer.gate])

    def attention(self, a: Attention, items: int, reps: int) -> np.ndarray:
        """For each item a word with each of its heads' multipliers, then each head's shifts, to which hardware adds
        the length of the sum of weights."""
        own = self.decoder.attentions[a.name]
        group = a.heads // a.kv_heads
        of_value = np.repeat(_channels(own.value_exponents).reshape(a.kv_heads, -1), group, axis=0).reshape(-1)
        right = LEFT - (of_value - _channels(self.decoder.linears[a.output].exponents) - RECIPROCAL_BITS)
        if right.min() < 0:
            raise CapacityError(
                f"{a.name}: expected exponents of attention's output at least {-LEFT - RECIPROCAL_BITS} above those of "
                f"its values, got {int(right.min()) - LEFT - RECIPROCAL_BITS}; quantize with closer exponents"
            )
        right = np.minimum(right, MOST_RIGHT - LENGTH_LIMIT)  # then nothing is left of a sum
        shifts = self.lanes(a.name, np.zeros_like(right), right, heads_layout(a.heads, self.layout.value_head))
        shifts = shifts.reshape(a.kv_heads * items, -1, self.plan.config.lanes)
        multipliers = np.zeros((a.heads, self.plan.config.lanes), np.int64)
        multipliers[:, 0] = own.multiplier
        first = _pack(a.name, multipliers, np.zeros_like(multipliers)).reshape(a.kv_heads * items, reps, -1)
        return _bytes(np.concatenate([first, shifts], axis=1))

    def rotations(self) -> np.ndarray:
        """For each position and word the cosine and sine of each pair of lanes, 16 bits each, in its lower half."""
        cosines, sines = (t[: self.plan.context].astype(np.int64) for t in (self.decoder.cosines, self.decoder.sines))
        lanes = self.plan.config.lanes
        pairs = Layout(np.where(self.layout.head[::2] < 0, -1, np.arange(len(self.layout.head) // 2)), 0)
        both = pairs.place(cosines & 0xFFFF | (sines & 0xFFFF) << 16).reshape(self.plan.context, -1, lanes // 2)
        return _bytes(np.pad(both, ((0, 0), (0, 0), (0, lanes // 2))))

    def words(self, name: str, values: np.ndarray, right: np.ndarray, layout: Layout) -> np.ndarray:
        return _bytes(self.lanes(name, values, right, layout))

    def lanes(self, name: str, values: np.ndarray, right: np.ndarray, layout: Layout) -> np.ndarray:
        """Lanes in physical order, from values and shifts by logical channel."""
        return _pack(name, layout.place(values), layout.place(right))


def embedding_image(decoder: QuantizedDecoder, layout: Layout, lanes: int) -> np.ndarray:
    """For each token a word with its multiplier in the low 16 bits, then its row of int8 channels."""
    own = decoder.embedding
    multiplier = own.multiplier
    if multiplier.size and not 0 <= int(multiplier.min()) <= int(multiplier.max()) < 1 << 15:
        raise InputError(f"{own.name}: expected multipliers in 0..32767, got {multiplier.min()}..{multiplier.max()}")
    image = np.zeros((len(own.rows), lanes + layout.size), np.uint8)
    image[:, :2] = multiplier.astype("<u2").view(np.uint8).reshape(-1, 2)
    image[:, lanes:] = layout.place(own.rows).view(np.uint8)
    return image.reshape(-1)


def _channels(exponents: np.ndarray) -> np.ndarray:
    return np.repeat(exponents.astype(np.int64), 2)


def _rights(shifts: np.ndarray) -> np.ndarray:
    """Right shifts of rescales whose results saturate to 16 bits at most: beyond these ends nothing changes."""
    return np.clip(LEFT - shifts, 0, MOST_RIGHT)


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
