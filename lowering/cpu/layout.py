"""Where a linear's parameters lie for the CPU kernels: sizes and store arrays in, packed bytes out. numpy only.

A slot is one additive weight stage of one pair, slot = pair * R + stage; two neighbours are a couple. A chunk is 64
outputs of one block, the last of a block padded. A couple's codes for a chunk are 64 bytes: 128 codes of 4 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lutllm.scheme import Scheme

LEVELS = ("portable", "avx2", "avx512")
CHUNK = 64
ENTRIES = 16
MOST_LEFT = 14  # 1 << left is a factor of 16 signed bits; what is beyond is shifted into the row
Pack = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Packed:
    """A piece of the parameter buffer: `size` bytes, made by `pack` from the arrays of the `symbols`."""

    symbols: tuple[str, ...]
    size: int
    pack: Pack


@dataclass(frozen=True)
class LinearShape:
    """Sizes of a linear at a feature level. `wide` rows are int32 and whole, others int16 before their left shift."""

    scheme: Scheme
    pairs: int
    outputs: int
    level: str

    @property
    def wide(self) -> bool:
        s = self.scheme
        bits = s.table_bits + (s.S - 1).bit_length() if s.kind == "vq" else s.table_bits
        return self.level == "portable" or bits > 16 or s.term_bits > MOST_LEFT + 16

    @property
    def slots(self) -> int:
        return self.pairs * self.scheme.R

    @property
    def couples(self) -> int:
        return -(-self.slots // 2)

    @property
    def blocks(self) -> int:
        return self.scheme.blocks(self.outputs)

    @property
    def block_chunks(self) -> int:
        return -(-min(self.scheme.G, self.outputs) // CHUNK)

    @property
    def chunks(self) -> int:
        last = self.outputs - (self.blocks - 1) * self.scheme.G
        return (self.blocks - 1) * self.block_chunks + -(-last // CHUNK)

    @property
    def whole_chunks(self) -> bool:
        """Whether no chunk is padded."""
        return self.outputs % CHUNK == 0 and (self.blocks == 1 or self.scheme.G % CHUNK == 0)

    @property
    def row_bytes(self) -> int:
        """Of one slot's row."""
        return ENTRIES * (4 if self.wide else 2)

    @property
    def token_bytes(self) -> int:
        """Of the rows of one token and block."""
        return 2 * self.couples * self.row_bytes

    @property
    def interleaved(self) -> bool:
        """Whether the two weights of an entry lie side by side, for a multiplication of 16-bit pairs."""
        return self.level == "avx512"

    @property
    def bytes_layout(self) -> bool:
        """Whether codes and rows are arranged for byte shuffles (AVX2), not for 16-bit permutations."""
        return self.level == "avx2" and not self.wide

    # --- parameters

    def codes(self, symbol: str) -> Packed:
        return Packed((symbol,), self.chunks * self.couples * CHUNK, self._pack_codes)

    def book(self, symbol: str) -> Packed:
        return Packed((symbol,), self.blocks * self.slots * 2 * ENTRIES, self._pack_book)

    def shifts(self, symbol: str) -> Packed:
        """Of each pair, int32: right, half, left shift of the row, 0."""
        return Packed((symbol,), self.pairs * 16, self._pack_shifts)

    def factors(self, symbol: str) -> Packed:
        """Of each slot, int16: what its entries are multiplied by, 1 << left; 0 for padding."""
        return Packed((symbol,), self.couples * 4, self._pack_factors)

    def requantizer(self, bias: str, multiplier: str) -> Packed:
        """Of each chunk, int32: 64 biases and 64 multipliers."""
        return Packed((bias, multiplier), self.chunks * CHUNK * 8, self._pack_requantizer)

    def _outputs(self) -> np.ndarray:
        """The output of every place [chunks, 64]; -1 for padding."""
        chunk = np.arange(self.chunks)[:, None]
        block, within = chunk // self.block_chunks, chunk % self.block_chunks * CHUNK + np.arange(CHUNK)
        output = block * self.scheme.G + within
        end = np.minimum((block + 1) * self.scheme.G, self.outputs)
        return np.where(output < end, output, -1)

    def _pack_codes(self, codes: np.ndarray) -> np.ndarray:
        flat = codes.reshape(self.slots, self.outputs)
        packed = np.empty((self.chunks, self.couples, CHUNK), np.uint8)
        for chunk, output in enumerate(self._outputs()):
            part = np.zeros((2 * self.couples, CHUNK), np.uint8)
            first, count = output[0], np.count_nonzero(output >= 0)
            part[: self.slots, :count] = flat[:, first : first + count]
            packed[chunk] = self._pack_chunk(part.reshape(self.couples, 2, CHUNK))
        return packed

    def _pack_chunk(self, codes: np.ndarray) -> np.ndarray:
        """[couples, 2, 64] codes to [couples, 64] bytes."""
        if self.bytes_layout:
            # Byte j of a slot: outputs of two halves; unpacking bytes to 32-bit sums restores their order.
            halves = codes.reshape(self.couples, 2, 2, 4, 2, 4).transpose(0, 1, 2, 4, 3, 5).reshape(-1, 2, 2, 32)
            return (halves[:, :, 0] | halves[:, :, 1] << 4).reshape(self.couples, CHUNK)
        # Word 2j + slot: the codes of outputs j, 16 + j, 32 + j, 48 + j, lowest first.
        quarters = codes.reshape(self.couples, 2, 4, 16).transpose(0, 3, 1, 2)
        return np.stack(
            [quarters[..., 0] | quarters[..., 1] << 4, quarters[..., 2] | quarters[..., 3] << 4], -1
        ).reshape(self.couples, CHUNK)

    def _pack_book(self, book: np.ndarray) -> np.ndarray:
        pairs, blocks, stages, entries, _ = book.shape
        packed = np.zeros((blocks, pairs, stages, ENTRIES, 2), np.int8)
        packed[..., :entries, :] = book.transpose(1, 0, 2, 3, 4)
        return packed if self.interleaved else np.ascontiguousarray(packed.swapaxes(-1, -2))

    def _pack_shifts(self, shifts: np.ndarray) -> np.ndarray:
        right, left = shifts.astype(np.int64).T
        kept = left if self.wide else np.maximum(left - MOST_LEFT, 0)
        return np.stack([right, (1 << right) >> 1, kept, 0 * right], axis=1).astype(np.int32)

    def _pack_factors(self, shifts: np.ndarray) -> np.ndarray:
        packed = np.zeros(2 * self.couples, np.int16)
        packed[: self.slots] = np.repeat(1 << np.minimum(shifts[:, 1].astype(np.int64), MOST_LEFT), self.scheme.R)
        return packed

    def _pack_requantizer(self, bias: np.ndarray, multiplier: np.ndarray) -> np.ndarray:
        places = self._outputs()
        both = np.stack([bias, multiplier])[:, np.maximum(places, 0)]
        return np.ascontiguousarray(np.where(places >= 0, both, 0).transpose(1, 0, 2)).astype(np.int32)


def codebook(symbol: str, pairs: int, stages: int, centroids: int) -> Packed:
    """Activation centroids int16 [pairs, stages, 2, padded]; padding repeats the first, which then always wins."""
    padded = -(-centroids // ENTRIES) * ENTRIES

    def pack(book: np.ndarray) -> np.ndarray:
        more = np.broadcast_to(book[:, :, :1], (pairs, stages, padded - centroids, 2))
        return np.ascontiguousarray(np.concatenate([book, more], axis=2).swapaxes(-1, -2))

    return Packed((symbol,), pairs * stages * 2 * padded * 2, pack)
