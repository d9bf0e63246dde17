"""What the accelerator holds while it runs, at transaction level: on-chip memories, streams, and external memory.

Words are rows of integers, addresses are the hardware's. What a task writes is noted, so that levels can be compared.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass

import numpy as np

from lutllm.dialect.machines.machine import MEMORIES
from lutllm.lowering.machine.accelerator import LEFT, PARAMETER_BITS, RIGHT_BITS, VALUE_BITS, AcceleratorConfig
from lutllm.numerics import MAX_RESCALE, rescale


@dataclass(frozen=True, eq=False)
class Written:
    """Words that a task wrote: `values` [n, channels] at `addresses` [n] of `memory`.

    `memory` is r, x, y or q (word addresses), `kv` (the byte address of a row in external memory), `saved` (the byte
    address of a word there, 32 bits a channel), `squares` (tokens), `token`, or a stream (`stream x`, `stream y`,
    `stream e`, `stream n`; addresses count its words).
    """

    memory: str
    addresses: np.ndarray
    values: np.ndarray


class Chip:
    """The state of one accelerator: `image` is external memory from the image's base on, as bytes."""

    def __init__(self, config: AcceleratorConfig, image: np.ndarray) -> None:
        self.config, self.image = config, image.copy()
        sizes = {memory: getattr(config, f"{memory}_words") for memory in MEMORIES}
        channels = {memory: config.head_lanes if memory == "q" else config.lanes for memory in MEMORIES}
        self.words = {m: np.zeros((sizes[m], channels[m]), np.int64) for m in MEMORIES}
        self.squares, self.totals = np.zeros((2, config.tokens), np.int64)  # of a token's row
        self.rotations = np.zeros((0, 2, 0), np.int64)  # [token, cosine and sine, pair]
        self.best, self.best_index, self.token = 0, 0, -1
        self.ids = np.zeros(config.context, np.int64)
        self.streams: dict[str, deque[np.ndarray]] = defaultdict(deque)
        self.written: list[Written] = []

    def read(self, memory: str, addresses: np.ndarray) -> np.ndarray:
        """Words at `addresses` of any shape."""
        return self.words[memory][addresses]

    def write(self, memory: str, addresses: np.ndarray, values: np.ndarray) -> None:
        """Words `values` [..., channels] to `addresses` [...]."""
        self.words[memory][addresses] = values
        self.note(memory, addresses, values)

    def note(self, memory: str, addresses: np.ndarray, values: np.ndarray) -> None:
        self.written.append(Written(memory, addresses.reshape(-1), values.reshape(addresses.size, -1)))

    def push(self, stream: str, words: np.ndarray) -> None:
        """The words [..., channels] of one task into a stream, in order."""
        self.streams[stream].append(words)
        self.note(f"stream {stream}", np.arange(words[..., 0].size), words)

    def pull(self, stream: str) -> np.ndarray:
        return self.streams[stream].popleft()

    def parameters(self, address: int, beats: int) -> tuple[np.ndarray, np.ndarray]:
        """(values, rights) [beats, lanes] of stream p."""
        lanes = self.bytes(address, beats, self.config.p_bits // 8).view("<u4").astype(np.int64)
        assert VALUE_BITS + RIGHT_BITS == PARAMETER_BITS
        value = lanes & (1 << VALUE_BITS) - 1
        return value - ((value >> VALUE_BITS - 1) << VALUE_BITS), lanes >> VALUE_BITS

    def halves(self, address: int, beats: int) -> np.ndarray:
        """Words of stream p as signed 16-bit numbers, [beats, 2 * lanes]."""
        return self.bytes(address, beats, self.config.p_bits // 8).view("<i2").astype(np.int64)

    def bytes(self, address: int, rows: int, size: int) -> np.ndarray:
        """[rows, size] bytes of external memory."""
        return self.image[address : address + rows * size].reshape(rows, size)


def places(base: int, words: range, tokens: int) -> np.ndarray:
    """Addresses [words, tokens] of a row's words: word w of token t lies at base + w * tokens + t."""
    return base + np.arange(words.start, words.stop)[:, None] * tokens + np.arange(tokens)


def rows_of(words: np.ndarray) -> np.ndarray:
    """[words, tokens, lanes] to [tokens, channels]."""
    return words.transpose(1, 0, 2).reshape(words.shape[1], -1)


def words_of(rows: np.ndarray, lanes: int) -> np.ndarray:
    """The inverse of `rows_of`."""
    return rows.reshape(len(rows), -1, lanes).transpose(1, 0, 2)


def rescaled(value: np.ndarray, right: np.ndarray | int) -> np.ndarray:
    """`rescale(value, LEFT - right)`; values are so small that shifts beyond what `rescale` takes give 0 alike."""
    return rescale(value, np.maximum(LEFT - np.asarray(right), -MAX_RESCALE))
