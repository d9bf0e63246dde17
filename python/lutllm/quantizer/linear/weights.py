"""GPTVQ: a weight matrix and the Hessian of its input in, integer additive codebooks and codes out.

1. Pairs in order of falling Hessian diagonal (undone at the end, costs no storage).
2. Each pair, per block of outputs: R additive stages fitted jointly in the pair's own metric, entries rounded to
   integers with one power-of-two exponent a pair; its error pushed into the pairs after it through the Cholesky
   factor of the inverse Hessian.
3. Passes of coordinate descent: each pair again, given all others, kept where the loss falls.
"""

from dataclasses import dataclass

import numpy as np

from lutllm.quantizer.linear import additive
from lutllm.quantizer.linear.factors import inverse_factor
from lutllm.quantizer.products import multiply
from lutllm.scheme import Scheme

CHUNK = 32  # pairs whose updates stay inside the compiled loop
STRIP = 1 << 24  # values worked on at a time
DAMPING = 0.01  # of the Hessian's diagonal


@dataclass
class FittedWeights:
    """`codes` uint8 [P, R, N], `entries` int8 [P, B, R, c_w, 2], `exponents` int64 [P]; `loss` is relative."""

    codes: np.ndarray
    entries: np.ndarray
    exponents: np.ndarray
    loss: float

    def matrix(self, block: int) -> np.ndarray:
        """The float matrix [N, K] these integers stand for."""
        pairs, stages, outputs = self.codes.shape
        at = np.arange(outputs) // block
        out = np.zeros((pairs, outputs, 2))
        for p in range(pairs):
            for r in range(stages):
                out[p] += self.entries[p, at, r, self.codes[p, r]]
        out *= np.exp2(self.exponents.astype(np.float64))[:, None, None]
        return out.transpose(1, 0, 2).reshape(outputs, 2 * pairs)


def damped(hessian: np.ndarray, damping: float = DAMPING) -> np.ndarray:
    """The Hessian with part of its diagonal added, so that it can be inverted; unit if there was no input.

    Each channel gets a part of its own: a part of the mean would drown quiet channels where a few are 1000 times
    louder. Channels that never spoke get a trace of the mean.
    """
    diagonal = np.diag(hessian)
    mean = float(diagonal.mean())
    found = hessian.copy()
    found[np.diag_indices_from(found)] += damping * (diagonal + 1e-6 * mean) if mean > 0 else 1.0
    return found


def fit_weights(
    weight: np.ndarray,
    hessian: np.ndarray,
    scheme: Scheme,
    *,
    row_scale: np.ndarray | None = None,
    row_weights: np.ndarray | None = None,
    seed: int = 0,
    rounds: int = 8,
    refits: int = 2,
    feedback: bool = True,
) -> FittedWeights:
    """Minimise sum_o row_weights[o] * (w_o - q_o) H (w_o - q_o)^T over integer additive codebooks.

    `weight` [N, K] in any float type; w_o is its row o over row_scale[o]. `hessian` [K, K] must be positive definite
    (see `damped`). `feedback=False` keeps only the codebook fit of each pair, for comparison.
    """
    outputs, inputs = weight.shape
    pairs, blocks = inputs // 2, scheme.blocks(outputs)
    diagonal = np.diag(hessian).reshape(pairs, 2).sum(axis=1)
    order = np.argsort(-diagonal, kind="stable")
    columns = (2 * order[:, None] + np.arange(2)).reshape(-1)
    h = np.ascontiguousarray(hessian[np.ix_(columns, columns)], dtype=np.float64)
    del hessian  # a temporary one, which `damped` gives, goes now
    if row_weights is None or not row_weights.any():  # all zero: no gradient reached this linear
        row_weights = np.ones(outputs)
    g = row_weights / row_weights.mean()
    g = np.clip(g, 1e-3, 1e3).astype(np.float32)
    fit = _Fit(
        scheme,
        weight,
        np.ones(outputs) if row_scale is None else row_scale,
        columns,
        g,
        rounds,
        np.array([seed], np.uint64),
        entries=np.zeros((pairs, blocks, scheme.R, scheme.c_w, 2), np.int32),
        exponents=np.zeros(pairs, np.int64),
        codes=np.zeros((pairs, scheme.R, outputs), np.uint8),
    )
    fit.feed_forward(h if feedback else np.diag(np.diag(h)))
    for _ in range(refits if feedback else 0):
        fit.descend(h)
    back = np.argsort(order, kind="stable")
    return FittedWeights(fit.codes[back], fit.entries[back].astype(np.int8), fit.exponents[back], fit.loss(h))


@dataclass
class _Fit:
    """The state of one fit, in the order of work. One float64 matrix of the weights' size is held at a time."""

    scheme: Scheme
    weight: np.ndarray
    row_scale: np.ndarray
    columns: np.ndarray
    row_weights: np.ndarray
    rounds: int
    state: np.ndarray
    entries: np.ndarray
    exponents: np.ndarray
    codes: np.ndarray

    @property
    def limit(self) -> float:
        return float((1 << (self.scheme.weight_bits - 1)) - 1)

    def _chunks(self):
        for start in range(0, len(self.exponents), CHUNK):
            pairs = slice(start, min(start + CHUNK, len(self.exponents)))
            yield pairs, slice(2 * pairs.start, 2 * pairs.stop)

    def _strips(self):
        """Outputs whose float64 columns take `STRIP` values."""
        outputs, inputs = self.weight.shape
        width = max(1, STRIP // inputs)
        return [slice(at, min(at + width, outputs)) for at in range(0, outputs, width)]

    def _wanted(self, rows: slice, outputs: slice = slice(None)) -> np.ndarray:
        """What the integers are to stand for: float64 [rows, outputs]."""
        part = self.weight[outputs, self.columns[rows]].astype(np.float64)
        part /= self.row_scale[outputs, None]
        return np.ascontiguousarray(part.T)

    def _found(self, pairs: slice, outputs: slice = slice(None)) -> np.ndarray:
        """What they stand for: float64 [2 pairs, outputs]."""
        codes = self.codes[pairs, :, outputs]
        block = np.arange(self.weight.shape[0])[outputs] // self.scheme.G
        found = np.zeros((len(codes), 2, codes.shape[2]))
        for p, entries in enumerate(self.entries[pairs]):
            for stage, chosen in enumerate(codes[p]):
                found[p] += entries[block, stage, chosen].T
        found *= np.exp2(self.exponents[pairs].astype(np.float64))[:, None, None]
        return found.reshape(-1, codes.shape[2])

    def _rest(self, outputs: slice) -> np.ndarray:
        rest = self._wanted(slice(None), outputs)
        rest -= self._found(slice(None), outputs)
        return rest

    def feed_forward(self, hessian: np.ndarray) -> None:
        upper = inverse_factor(hessian)
        w = np.empty(self.weight.shape[::-1])
        for _, rows in self._chunks():
            w[rows] = self._wanted(rows)
        for pairs, rows in self._chunks():
            q, error = np.zeros_like(w[rows]), np.zeros_like(w[rows])
            additive.feed_forward(
                w[rows], np.ascontiguousarray(upper[rows, rows]), self.row_weights, self.scheme.G, self.limit,
                self.rounds, self.state, self.entries[pairs], self.exponents[pairs], self.codes[pairs], q, error,
            )  # fmt: skip
            for strip in self._strips():
                w[rows.stop :, strip] -= multiply(upper[rows, rows.stop :].T, error[:, strip])

    def descend(self, hessian: np.ndarray) -> None:
        gradient = np.empty(self.weight.shape[::-1])
        for strip in self._strips():
            gradient[:, strip] = multiply(hessian, self._rest(strip))
        for pairs, rows in self._chunks():
            q = self._found(pairs)
            change = np.zeros_like(q)
            inside = np.ascontiguousarray(gradient[rows])
            additive.descend(
                inside, np.ascontiguousarray(hessian[rows, rows]), self.row_weights, self.scheme.G, self.limit,
                2, self.state, self.entries[pairs], self.exponents[pairs], self.codes[pairs], q, change,
            )  # fmt: skip
            for strip in self._strips():
                gradient[:, strip] -= multiply(hessian[:, rows], change[:, strip])

    def loss(self, hessian: np.ndarray) -> float:
        """The weighted error, as a part of what all zeros would give."""

        def weighed(matrix: np.ndarray, strip: slice) -> float:
            return float(np.sum(multiply(hessian, matrix) * matrix * self.row_weights[strip]))

        left = sum(weighed(self._rest(strip), strip) for strip in self._strips())
        whole = sum(weighed(self._wanted(slice(None), strip), strip) for strip in self._strips())
        return left / max(whole, 1e-300)
