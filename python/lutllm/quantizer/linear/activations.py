"""The integer form of a linear's input: recorded statistics in, exponents and codebook out, and tokens as integers."""

from dataclasses import dataclass

import numpy as np

from lutllm import numerics
from lutllm.quantizer.linear.assembly import input_exponents
from lutllm.quantizer.linear.clustering import EXACT_FLOAT, METRIC, activation_books, coded
from lutllm.quantizer.linear.statistics import InputStatistics
from lutllm.scheme import Scheme

BOOK_ROUNDS = 12  # of k-means, on one token of START_EVERY
START_EVERY = 4
REFINEMENTS = 12  # on all tokens of the sample: rare loud values decide the error, and a part has too few of them
_CHUNK = 1024  # tokens worked on at once, so that they stay in the cache


@dataclass(frozen=True)
class IntegerInput:
    """`exponents` int8 [P], `codebook` int16 [P, S, c_a, 2] or None; what a scheme makes of one input."""

    scheme: Scheme
    exponents: np.ndarray
    codebook: np.ndarray | None

    def integers(self, x: np.ndarray) -> np.ndarray:
        """Tokens [T, K] as the int16 the hardware reads."""
        return numerics.quantize(x, np.repeat(self.exponents, 2), self.scheme.x_bits).astype(np.int16)

    def seen(self, x: np.ndarray) -> np.ndarray:
        """Tokens [T, K] as the linear sees them: rounded and, with a codebook, replaced by centroids. float64."""
        return np.concatenate([self._seen(x[at : at + _CHUNK]) for at in range(0, len(x), _CHUNK)])

    def _seen(self, x: np.ndarray) -> np.ndarray:
        values = self.integers(x)
        if self.codebook is not None:
            metric = METRIC[self.scheme.metric]
            exact = EXACT_FLOAT[metric]
            values = _tokens(coded(_points(values.astype(exact)), self.codebook.astype(exact), metric))
        return numerics.dequantize(values, np.repeat(self.exponents, 2))


def fit_input(scheme: Scheme, statistics: InputStatistics, seed: int) -> IntegerInput:
    """Exponents from the recorded peaks; for `vq`, S stages of centroids trained on what the stages before leave.

    Centroids are trained in the integer scale of their pair, with the scheme's own metric for assignment, and
    rounded. With `act_bits` below `x_bits` the exponents are chosen for `act_bits`, since both share them.
    """
    bits = scheme.x_bits if scheme.kind == "exact" else scheme.act_bits
    exponents = input_exponents(statistics.peak, bits)
    if scheme.kind == "exact":
        return IntegerInput(scheme, exponents, None)
    points = _points(numerics.quantize(statistics.sample, np.repeat(exponents, 2), scheme.x_bits).astype(np.float32))
    seeds = np.random.default_rng(seed).integers(0, 1 << 63, len(points), dtype=np.uint64)
    metric = METRIC[scheme.metric]
    books = activation_books(points, scheme.S, scheme.c_a, BOOK_ROUNDS, metric, seeds, START_EVERY, REFINEMENTS)
    integers = numerics.saturate(np.floor(books.astype(np.float64) + 0.5), scheme.act_bits)
    return IntegerInput(scheme, exponents, integers.astype(np.int16))


def _points(x: np.ndarray) -> np.ndarray:
    """[T, K] to [P, 2, T]."""
    return np.ascontiguousarray(x.reshape(len(x), -1, 2).transpose(1, 2, 0))


def _tokens(points: np.ndarray) -> np.ndarray:
    """[P, 2, T] to [T, K]."""
    return np.ascontiguousarray(points.transpose(2, 0, 1).reshape(points.shape[2], -1))
