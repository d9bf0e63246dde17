"""What single ideas are worth on a few decoder layers, in floats: recorded inputs in, about how much loss each costs.

On text held apart, an error d of a linear's outputs costs about sum_o curvature[o] * E[d_o**2] / 2 of loss a token (see
`lutllm.quantizer.observe.sensitivity`). Ideas for activations leave the weights alone and the other way round; inputs
come from the float model. Costs add up over linears, so columns are sums over all linears that read an input.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lutllm.quantizer.linear.activations import BOOK_ROUNDS, REFINEMENTS
from lutllm.quantizer.linear.assembly import row_scale
from lutllm.quantizer.linear.clustering import METRIC, activation_books, coded
from lutllm.quantizer.linear.statistics import second_moment
from lutllm.quantizer.linear.weights import FittedWeights, damped, fit_weights
from lutllm.quantizer.observe.recording import LayerStream, float_linear, linears
from lutllm.scheme import EXACT

KINDS = ("q k v", "o", "gate up", "down")


@dataclass
class Input:
    """One tensor: tokens [T, K] of calibration and of held-apart text, and (weight [N, K], curvature [N]) by reader."""

    kind: str
    calibration: np.ndarray
    held: np.ndarray
    readers: list[tuple[np.ndarray, np.ndarray]]

    def cost(self, outputs: Sequence[np.ndarray], x: np.ndarray | None = None) -> float:
        """What it costs that the readers give `outputs` for the held tokens (or for `x`)."""
        x = self.held if x is None else x
        errors = [y - x @ w.T for y, (w, _) in zip(outputs, self.readers, strict=True)]
        return sum(float(np.square(e).mean(axis=0) @ c) / 2 for e, (_, c) in zip(errors, self.readers, strict=True))

    def metric(self) -> np.ndarray:
        """[P, 2, 2]: what an error of a pair costs, x M x^T, other pairs aside."""
        pairs = [(w.reshape(len(w), -1, 2), c) for w, c in self.readers]
        return sum(np.einsum("o,opi,opj->pij", c, w, w) for w, c in pairs)


def record_inputs(
    module: Any, layers: Sequence[int], calibration: np.ndarray, held: np.ndarray, importance: Mapping[str, np.ndarray]
) -> list[Input]:
    """The inputs of the linears of `layers`, in the model's order."""
    names = linears(module, list(layers))
    stream, found = LayerStream(module, names, [*calibration, *held]), []
    for group in stream.groups(names):
        windows = list(stream.layer(group))
        by_input: dict[str, list[str]] = {}
        for name, recorded in windows[0].items():
            by_input.setdefault(recorded.input_name, []).append(name)
        for kind, readers in zip(KINDS, by_input.values(), strict=True):
            x = np.concatenate([w[readers[0]].x for w in windows])
            parts = [float_linear(module, name, "") for name in readers]
            cut = calibration.size
            found.append(Input(kind, x[:cut], x[cut:], [(p.weight, importance[p.name]) for p in parts]))
    return found


@dataclass(frozen=True)
class Activations:
    """Codebooks of pairs. `assigned` is the search's metric where it is not that of training; `joint` searches all sums
    of two stages; `basis` is a change of coordinates that is undone afterwards."""

    metric: str = "chebyshev"
    assigned: str | None = None
    stages: int = 2
    count: int = 16
    joint: bool = False
    basis: str | None = None
    token_scale: bool = False
    outliers: int = 0
    quiet_tokens: bool = False  # tokens drawn by the inverse of their power, so that loud ones do not decide
    tokens: int = 4096  # that codebooks are trained on
    refinements: int = REFINEMENTS  # rounds

    def seen(self, source: Input, x: np.ndarray) -> np.ndarray:
        """What readers see of tokens `x`, by codebooks of the calibration tokens."""
        change = _basis(self.basis, source)
        training = (source.calibration / self._scale(source.calibration)) @ change
        books = self._books(training[self._drawn(training)])
        scale = self._scale(x)
        metric = METRIC[self.assigned or self.metric]
        values = _points((x / scale) @ change).astype(np.float64)
        seen = _tokens(coded(values, books, metric)) @ np.linalg.inv(change) * scale
        if self.outliers:
            peaks = np.abs(source.calibration).reshape(len(source.calibration), -1, 2).max(axis=(0, 2))
            loud = np.argsort(peaks)[-self.outliers :]
            at = (2 * loud[:, None] + np.arange(2)).reshape(-1)
            seen[:, at] = x[:, at]
        return seen.astype(np.float32)

    def _scale(self, x: np.ndarray) -> np.ndarray:
        """[T, 1]: the power of two next to each token's root mean square, or ones."""
        if not self.token_scale:
            return np.ones((len(x), 1), np.float32)
        return np.exp2(np.rint(np.log2(np.sqrt(np.square(x).mean(axis=1, keepdims=True)) + 1e-9)))

    def _drawn(self, x: np.ndarray) -> np.ndarray:
        if not self.quiet_tokens:
            return np.linspace(0, len(x) - 1, min(len(x), self.tokens)).astype(np.int64)
        chance = 1 / (np.square(x).mean(axis=1) + 1e-9)
        return np.random.default_rng(0).choice(len(x), min(len(x), self.tokens), p=chance / chance.sum())

    def _books(self, training: np.ndarray) -> np.ndarray:
        points = _points(training.astype(np.float32))
        seeds = np.arange(len(points), dtype=np.uint64)
        metric = METRIC[self.metric]
        books = activation_books(points, self.stages, self.count, BOOK_ROUNDS, metric, seeds, 1, self.refinements)
        if self.joint:
            sums = books[:, 0, :, None] + books[:, 1, None]
            books = sums.reshape(len(books), 1, -1, 2)
        return books.astype(np.float64)

    def outputs(self, source: Input) -> list[np.ndarray]:
        seen = self.seen(source, source.held)
        return [seen @ w.T for w, _ in source.readers]

    def cost(self, source: Input) -> float:
        return source.cost(self.outputs(source))


@dataclass(frozen=True)
class Retargeted:
    """Weights by least squares from `tokens` of the coded input to the float outputs, pulled towards their own values
    by `ridge` of the diagonal. `training`: the cost on the very tokens that they were fitted on."""

    ridge: float
    tokens: int
    training: bool = False

    def cost(self, source: Input) -> float:
        x = source.calibration[: self.tokens]
        seen = Activations().seen(source, x)
        hessian, cross = second_moment(seen, seen) / len(x), second_moment(x, seen) / len(x)
        ridge = damped(hessian, self.ridge) - hessian
        moved = [np.linalg.solve(hessian + ridge, (w @ (cross + ridge)).T).T for w, _ in source.readers]
        if not self.training:
            x, seen = source.held, Activations().seen(source, source.held)
        return source.cost([(seen @ w.T).astype(np.float32) for w in moved], x)


@dataclass(frozen=True)
class Weights:
    """Exact rows; `options` go to `fit_weights`."""

    R: int = 1
    block: int = 1024
    options: dict = field(default_factory=dict)
    scale_rows: bool = True
    importance: bool = True
    one_exponent: bool = False

    def outputs(self, source: Input) -> list[np.ndarray]:
        hessian = damped(second_moment(source.calibration, source.calibration) / len(source.calibration))
        return [source.held @ self._matrix(w, c, hessian).T for w, c in source.readers]

    def cost(self, source: Input) -> float:
        return source.cost(self.outputs(source))

    def _matrix(self, weight: np.ndarray, curvature: np.ndarray, hessian: np.ndarray) -> np.ndarray:
        scale = row_scale(weight, self.scale_rows).value[:, None]
        rows = scale[:, 0] ** 2 * (curvature if self.importance else 1.0)
        scheme = EXACT.with_(R=self.R, G=self.block)
        fitted = fit_weights(weight / scale, hessian, scheme, row_weights=rows, **self.options)
        if self.one_exponent:
            _share_exponent(fitted)
        return (fitted.matrix(self.block) * scale).astype(np.float32)


def _share_exponent(fitted: FittedWeights) -> None:
    """Round all entries to the coarsest pair's exponent."""
    coarsest = fitted.exponents.max()
    steps = np.exp2((fitted.exponents - coarsest).astype(np.float64))
    fitted.entries = np.rint(fitted.entries * steps[:, None, None, None, None])
    fitted.exponents = np.full_like(fitted.exponents, coarsest)


def _basis(kind: str | None, source: Input) -> np.ndarray:
    """The matrix [K, K] that tokens are multiplied by."""
    channels = source.held.shape[1]
    if kind is None:
        return np.eye(channels, dtype=np.float32)
    if kind == "rotation":
        size = channels & -channels  # the largest power of two that divides them
        hadamard = np.ones((1, 1))
        while len(hadamard) < size:
            hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
        return np.kron(np.eye(channels // size), hadamard / np.sqrt(size)).astype(np.float32)
    metric = source.metric()
    if kind == "paired":  # the costliest channel with the cheapest, and so on: pairs share out their codes by cost
        cost = np.square(source.calibration).mean(axis=0) * np.diagonal(metric, axis1=1, axis2=2).reshape(-1)
        order = np.argsort(cost)
        paired = np.stack([order[: channels // 2], order[::-1][: channels // 2]], axis=1).reshape(-1)
        return np.eye(channels, dtype=np.float32)[:, paired]
    metric /= np.trace(metric, axis1=1, axis2=2)[:, None, None] / 2
    if kind == "scale":
        metric = metric * np.eye(2)
    roots = np.linalg.cholesky(metric + 1e-6 * np.eye(2))
    change = np.zeros((channels // 2, 2, channels // 2, 2))
    change[np.arange(channels // 2), :, np.arange(channels // 2)] = roots
    return change.reshape(channels, channels).astype(np.float32)


def _points(x: np.ndarray) -> np.ndarray:
    """[T, K] to [P, 2, T]."""
    return np.ascontiguousarray(x.reshape(len(x), -1, 2).transpose(1, 2, 0))


def _tokens(points: np.ndarray) -> np.ndarray:
    return points.transpose(2, 0, 1).reshape(points.shape[2], -1)


L2: dict[str, Any] = {"metric": "l2"}
IDEAS = (
    ("c_a 64: L2", Activations(**L2, stages=1, count=64)),
    ("c_a 64: L2, searched by Chebyshev", Activations(**L2, assigned="chebyshev", stages=1, count=64)),
    ("c_a 64: Chebyshev-trained", Activations(stages=1, count=64)),
    ("c_a 64, costly channels paired with cheap ones", Activations(stages=1, count=64, basis="paired")),
    ("16+16: L2", Activations(**L2)),
    ("16+16: L2, searched by Chebyshev", Activations(**L2, assigned="chebyshev")),
    ("16+16: Chebyshev-trained", Activations()),
    ("16+16: Chebyshev-trained on 8192 tokens", Activations(tokens=8192)),
    ("16+16: Chebyshev-trained on 8192 tokens, 48 rounds", Activations(tokens=8192, refinements=48)),
    ("16+16: Chebyshev-trained on 2048 tokens", Activations(tokens=2048)),
    ("16+16, scale of each token", Activations(token_scale=True)),
    ("16+16, rotation", Activations(basis="rotation")),
    ("16+16, rotation and scale of each token", Activations(token_scale=True, basis="rotation")),
    ("16+16, 8 outlier pairs exact", Activations(outliers=8)),
    ("16+16, loud tokens count less", Activations(quiet_tokens=True)),
    ("16+16, channels of a pair scaled by what their errors cost", Activations(basis="scale")),
    ("16+16, costly channels paired with cheap ones", Activations(basis="paired")),
    ("16+16: L2 in the metric of what a pair's error costs", Activations(**L2, basis="metric")),
    ("16+16: L2, joint search", Activations(**L2, joint=True)),
    ("16+16: L2, joint search in that metric", Activations(**L2, joint=True, basis="metric")),
    ("16+16+16: Chebyshev-trained", Activations(stages=3)),
    ("16+16, re-targeted on 2048 tokens, ridge 0.001", Retargeted(0.001, 2048)),
    ("16+16, re-targeted on 2048 tokens, ridge 0.001, on these tokens", Retargeted(0.001, 2048, training=True)),
    ("16+16, re-targeted on 8192 tokens, ridge 0.001", Retargeted(0.001, 8192)),
    ("16+16, re-targeted on 8192 tokens, ridge 0.001, on these tokens", Retargeted(0.001, 8192, training=True)),
    ("16+16, re-targeted on 8192 tokens, ridge 0.2", Retargeted(0.2, 8192)),
    ("R=1: k-means of each pair", Weights(options={"feedback": False}, importance=False)),
    ("R=1, error feedback", Weights(options={"refits": 0}, importance=False)),
    ("R=1, error feedback, refits", Weights(importance=False)),
    ("R=1, error feedback, refits, importance of outputs (all below)", Weights()),
    ("R=1, without a scale of each row", Weights(scale_rows=False)),
    ("R=1, one exponent for all pairs", Weights(one_exponent=True)),
    ("R=1, blocks of 256", Weights(block=256)),
    ("R=2: stage after stage, error feedback", Weights(2, options={"rounds": 0, "refits": 0})),
    ("R=2: stages jointly, error feedback", Weights(2, options={"refits": 0})),
    ("R=2: stages jointly, error feedback, refits", Weights(2)),
    ("R=2, one exponent for all pairs", Weights(2, one_exponent=True)),
    ("R=2, blocks of 256", Weights(2, block=256)),
)


def measure(inputs: Sequence[Input], wanted: Callable[[str], bool]) -> Iterator[tuple[str, list[float]]]:
    """(idea, cost by kind of input) for the ideas whose label is `wanted`."""
    for label, idea in IDEAS:
        if wanted(label):
            yield label, [sum(idea.cost(i) for i in inputs if i.kind == kind) for kind in KINDS]
