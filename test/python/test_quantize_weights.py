"""The fit of weights and activations: what each idea must improve, on small matrices with correlated inputs."""

import numpy as np
import pytest

from lutllm.errors import InputError
from lutllm.quantizer import FloatLinear, VectorQuantizer, output_error, validate
from lutllm.quantizer.linear.activations import START_EVERY, fit_input
from lutllm.quantizer.linear.clustering import EXACT_FLOAT, METRIC, coded, nearest
from lutllm.quantizer.linear.statistics import WINDOW, InputStatistics, second_moment
from lutllm.quantizer.linear.weights import FittedWeights, damped, fit_weights
from lutllm.scheme import ADDITIVE, EXACT, PAPER

G = 32
ONE = EXACT.with_(R=1, G=G)


@pytest.fixture(scope="module")
def problem():
    """A weight, and tokens whose channels are correlated and of very different size."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(24, 24)) * np.exp(rng.normal(size=24))
    tokens = rng.normal(size=(3000, 24)) @ mix
    return rng.normal(size=(80, 24)), tokens[:2000].astype(np.float32), tokens[2000:].astype(np.float32)


def loss(weight, fitted, x):
    y = x @ weight.T
    return float(np.linalg.norm(x @ fitted.matrix(G).T - y) / np.linalg.norm(y))


def test_feedback_refits_and_stages_each_lower_the_error(problem):
    weight, x, held = problem
    hessian = damped(x.T.astype(float) @ x / len(x))
    plain = loss(weight, fit_weights(weight, hessian, ONE, feedback=False), held)
    fed = loss(weight, fit_weights(weight, hessian, ONE, refits=0), held)
    refitted = loss(weight, fit_weights(weight, hessian, ONE, refits=2), held)
    stages = [loss(weight, fit_weights(weight, hessian, ONE.with_(R=r)), held) for r in (1, 2, 3)]
    assert fed < 0.8 * plain
    assert refitted < fed
    assert stages[1] < 0.5 * stages[0]
    assert stages[2] < 0.8 * stages[1]


def test_the_reported_loss_is_the_loss(problem):
    weight, x, _ = problem
    hessian = damped(x.T.astype(float) @ x / len(x))
    rows = np.linspace(1, 3, len(weight))
    fitted = fit_weights(weight, hessian, ONE.with_(R=2), row_weights=rows)
    rest = weight - fitted.matrix(G)
    wanted = np.sum(rows * np.einsum("ok,kl,ol->o", rest, hessian, rest))
    wanted /= np.sum(rows * np.einsum("ok,kl,ol->o", weight, hessian, weight))
    assert fitted.loss == pytest.approx(wanted, rel=1e-4)
    assert np.abs(fitted.entries.astype(int)).max() <= 127 and fitted.codes.max() < 16


def test_rows_that_matter_more_are_fitted_better(problem):
    weight, x, held = problem
    hessian = damped(x.T.astype(float) @ x / len(x))
    rows = np.ones(len(weight))
    rows[:8] = 200.0
    even, weighted = (fit_weights(weight, hessian, ONE, row_weights=r).matrix(G)[:8] for r in (None, rows))
    y = held @ weight[:8].T
    assert np.linalg.norm(held @ weighted.T - y) < 0.7 * np.linalg.norm(held @ even.T - y)


def test_a_matrix_with_few_values_is_fitted_without_loss():
    rng = np.random.default_rng(1)
    values = rng.integers(-100, 101, (8, 16, 2)) / 64.0
    weight = np.stack([values[p, rng.integers(0, 16, 40)] for p in range(8)], axis=1).reshape(40, 16)
    weight[:16] = values.transpose(1, 0, 2).reshape(16, 16)  # every value occurs
    fitted = fit_weights(weight, np.eye(16), ONE.with_(G=40))
    assert fitted.loss < 2e-4


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 7, 16])
@pytest.mark.parametrize("metric", sorted(METRIC))
def test_the_first_of_the_nearest_centroids_is_chosen(metric, count, kind):
    x, y, cx, cy = (
        np.random.default_rng(i).integers(-9, 10, n).astype(kind) for i, n in enumerate((501, 501, count, count))
    )
    best, index = np.empty(501, kind), np.empty(501, np.int32)
    nearest(x, y, cx, cy, METRIC[metric], best, index)
    dx, dy = np.abs(x[:, None] - cx), np.abs(y[:, None] - cy)
    distance = dx**2 + dy**2 if metric == "l2" else np.maximum(dx, dy)
    np.testing.assert_array_equal(index, distance.argmin(axis=1))
    np.testing.assert_array_equal(best, distance.min(axis=1))


def test_the_search_is_exact_on_the_widest_integers():
    values = np.random.default_rng(0).integers(-(1 << 15), 1 << 15, (3, 2, 400))
    books = np.random.default_rng(1).integers(-(1 << 15), 1 << 15, (3, 1, 64, 2))
    distance = np.abs(values[:, None] - books[:, 0, :, :, None])  # [P, c, 2, n]
    for metric, chosen in {"l2": (distance**2).sum(axis=2), "chebyshev": distance.max(axis=2)}.items():
        exact = EXACT_FLOAT[METRIC[metric]]
        got = coded(values.astype(exact), books.astype(exact), METRIC[metric])
        wanted = np.take_along_axis(books[:, 0], chosen.argmin(axis=1)[..., None], axis=1).transpose(0, 2, 1)
        np.testing.assert_array_equal(got, wanted)


def test_moments_are_sums_over_tokens_of_any_number(problem):
    _, x, held = problem
    x = np.concatenate([x, held])[: 2 * WINDOW + 3]
    for other in (x, -x[:, :4]):
        np.testing.assert_allclose(second_moment(x, other), x.T.astype(float) @ other, rtol=1e-4, atol=1e-2)


def test_activation_stages_and_metric(problem):
    _, x, held = problem
    statistics = InputStatistics(24, 4096)
    statistics.add(x)
    errors = {}
    for name, scheme in {
        "paper": PAPER,
        "l2": PAPER.with_(metric="l2"),
        "additive": ADDITIVE,
        "coarse": PAPER.with_(c_a=16),
        "narrow": PAPER.with_(act_bits=8),
    }.items():
        source = fit_input(scheme, statistics, seed=0)
        assert np.abs(source.codebook.astype(int)).max() < 1 << (scheme.act_bits - 1)
        errors[name] = np.linalg.norm(source.seen(held) - held) / np.linalg.norm(held)
    assert errors["additive"] < 0.7 * errors["paper"] < 0.7 * errors["coarse"]
    assert errors["l2"] == pytest.approx(errors["paper"], rel=0.15)
    assert errors["narrow"] < 1.1 * errors["paper"]
    exact = fit_input(EXACT, statistics, seed=0)
    assert np.abs(exact.seen(held) - held).max() <= 0.5 * np.exp2(exact.exponents.astype(float)).max()


@pytest.mark.parametrize("scheme", [PAPER.with_(c_a=16), ADDITIVE])
def test_codebooks_serve_loud_tokens_that_are_rare(scheme):
    """One token in 64 is loud, and none of those that k-means starts from."""
    x = np.random.default_rng(0).normal(size=(1024, 4)).astype(np.float32)
    x[1::64] += np.float32([40, -30, 50, 20])
    statistics = InputStatistics(4, 4096)
    statistics.add(x)
    assert 64 % START_EVERY == 0
    error = np.abs(fit_input(scheme, statistics, seed=0).seen(x) - x)[1::64]
    assert error.max() < 4.0


def quantized(scheme, problem, **options):
    weight, x, held = problem
    linear = FloatLinear("l", "l.input", weight.astype(np.float32), np.linspace(-5, 5, len(weight)).astype(np.float32))
    quantizer = VectorQuantizer(scheme.with_(G=G), seed=3, **options)
    for window in x.reshape(4, -1, x.shape[-1]):
        quantizer.observe("l.input", window)
    q = quantizer.quantize_linear(linear)
    return q, output_error(q, linear, held)


@pytest.mark.parametrize("name", ["paper", "additive", "exact"])
def test_integer_linears_improve_with_stages_and_repeat(problem, name):
    scheme = {"paper": PAPER, "additive": ADDITIVE, "exact": EXACT}[name]
    errors = []
    for stages in (1, 2):
        q, error = quantized(scheme.with_(R=stages), problem)
        again, _ = quantized(scheme.with_(R=stages), problem)
        validate(q)
        for key, array in q.tensors().items():
            np.testing.assert_array_equal(array, again.tensors()[key])
        errors.append(error)
    assert errors[1] < 0.96 * errors[0] < 0.4


def test_exact_rows_lose_nothing_but_the_weights(problem):
    """The error of the integers is that of the float matrix they stand for."""
    weight, _, held = problem
    q, error = quantized(EXACT.with_(R=2), problem)
    common = q.metadata["accumulator_exponent"]
    exponents = common - q.exponents.astype(int) - q.shifts[:, 0] + q.shifts[:, 1]
    matrix = FittedWeights(q.codes, q.weight_codebook, exponents, 0.0).matrix(G)
    matrix *= (q.multiplier * 2.0 ** (q.out_exponent - q.shift - common))[:, None]
    bias = np.linspace(-5, 5, len(weight))
    y = held @ weight.T + bias
    wanted = np.linalg.norm(held @ matrix.T + bias - y) / np.linalg.norm(y)
    assert error == pytest.approx(wanted, rel=0.01)


def test_outlier_channels_do_not_spoil_the_others():
    """A pair 1000 times louder than the rest: one scale, or one damping, for all would spoil the rest."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2000, 16)) @ rng.normal(size=(16, 16))
    weight = rng.normal(size=(40, 16))
    _, even = quantized(EXACT, (weight, x.astype(np.float32).reshape(4, 500, 16), x))
    x[:, 4:6] *= 1000
    weight[:, 4:6] /= 1000
    _, uneven = quantized(EXACT, (weight, x.astype(np.float32).reshape(4, 500, 16), x))
    assert uneven < 1.2 * even < 0.1


def test_inputs_that_are_never_used_and_weights_that_are_zero():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(800, 8)).astype(np.float32)
    x[:, 2:4] = 0
    weight = rng.normal(size=(12, 8)).astype(np.float32)
    weight[3] = 0
    for scheme in (EXACT, PAPER.with_(c_a=8)):
        quantizer = VectorQuantizer(scheme)
        quantizer.observe("i", x)
        validate(quantizer.quantize_linear(FloatLinear("l", "i", weight)))
        zero = quantizer.quantize_linear(FloatLinear("z", "i", weight * 0))
        assert output_error(zero, FloatLinear("z", "i", weight * 0), x[:4]) == 0


def test_bad_tensors_are_named():
    with pytest.raises(InputError, match=r"'l': expected a weight \[outputs, inputs\] with an even number.*\[4, 3\]"):
        FloatLinear("l", "i", np.zeros((4, 3)))
    weight = np.zeros((4, 2))
    weight[2, 1] = np.nan
    with pytest.raises(InputError, match=r"'l.weight': expected finite values, got nan at \[2, 1\] \(1 of 8"):
        FloatLinear("l", "i", weight)
    with pytest.raises(InputError, match=r"'l.bias': expected finite values, got inf at \[0\]"):
        FloatLinear("l", "i", np.zeros((1, 2)), np.array([np.inf]))
    with pytest.raises(InputError, match="expected calibration windows"):
        VectorQuantizer(EXACT).quantize_linear(FloatLinear("l", "i", np.zeros((4, 2))))
    with pytest.raises(InputError, match=r"expected \[tokens, 4\], got \[3, 6\]"):
        InputStatistics(4, 10).add(np.zeros((3, 6)))
