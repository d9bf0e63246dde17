"""What calibration leaves of one linear input: windows of tokens in, peaks, Hessian and a sample of tokens out."""

from functools import cached_property

import numpy as np

from lutllm.errors import InputError
from lutllm.quantizer.products import gram, multiply

WINDOW = 1024  # tokens whose products are summed in float32


def second_moment(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The sum of x y^T over tokens [T, K], float64. float32 products: doubles would cost twice the time."""
    total = np.zeros((x.shape[1], y.shape[1]))
    add_second_moment(total, x, y)
    return total


def add_second_moment(total: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Add `second_moment` to `total`, float64 [K, K]."""
    for at in range(0, len(x), WINDOW):
        part = x[at : at + WINDOW].astype(np.float32, copy=False)
        total += gram(part) if y is x else multiply(part.T, y[at : at + WINDOW].astype(np.float32, copy=False))


class InputStatistics:
    """Accumulates windows [tokens, channels] of one input.

    `hessian` is the mean of x x^T over all tokens (products of a window in float32, their sums in float64; zero with
    `moments` False), `peak` the largest |x| of each pair, `sample` the first `sample_tokens` tokens, which bounds the
    memory whatever the length of the text.
    """

    def __init__(self, channels: int, sample_tokens: int, moments: bool = True) -> None:
        self.tokens = 0
        self.peak = np.zeros(channels // 2)
        self._moments = moments
        self._sum = np.zeros((channels, channels))
        self._room = sample_tokens
        self._kept: list[np.ndarray] = []

    def add(self, x: np.ndarray) -> None:
        if x.ndim != 2 or x.shape[1] != len(self._sum):
            raise InputError(f"calibration window: expected [tokens, {len(self._sum)}], got {list(x.shape)}")
        if "hessian" in self.__dict__:
            raise RuntimeError("expected all windows before the Hessian is asked for, got one after it")
        if self._moments:
            add_second_moment(self._sum, x, x)
        self.tokens += len(x)
        channels = np.maximum(x.max(axis=0), -x.min(axis=0))
        self.peak = np.maximum(self.peak, channels.reshape(-1, 2).max(axis=1))
        if self._room > 0:
            kept = x[: self._room].astype(np.float32)
            self._kept.append(kept)
            self._room -= len(kept)

    @cached_property
    def hessian(self) -> np.ndarray:
        self._sum /= max(1, self.tokens)
        return self._sum

    @property
    def sample(self) -> np.ndarray:
        if len(self._kept) > 1:
            self._kept = [np.concatenate(self._kept)]
        return self._kept[0]
