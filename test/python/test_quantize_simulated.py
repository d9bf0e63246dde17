"""Simulated models: in floats what the tables compute, and how much the loss minds errors."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lutllm import interpreter, numerics  # noqa: E402
from lutllm.models import load  # noqa: E402
from lutllm.quantizer import quantize  # noqa: E402
from lutllm.quantizer.evaluate import integer_input  # noqa: E402
from lutllm.quantizer.linear.clustering import METRIC  # noqa: E402
from lutllm.quantizer.observe.sensitivity import curvatures  # noqa: E402
from lutllm.quantizer.observe.simulated import (  # noqa: E402
    SimulatedInput,
    SimulatedLinear,
    nearest_tokens,
    perplexity,
    search_tokens,
    simulated,
)
from lutllm.quantizer.random.linear import random_linear  # noqa: E402
from lutllm.scheme import ADDITIVE, EXACT, PAPER  # noqa: E402

SMALL = {"tokens": 256, "window": 64, "progress": False, "seed": 7}
WINDOWS = [np.arange(32) % 50, np.arange(32)[::-1].copy() % 40]


@pytest.fixture(scope="module")
def model():
    return load("tiny-llama", seed=1)


@pytest.mark.parametrize(
    "scheme", [EXACT.with_(G=48), PAPER.with_(c_a=16, table_bits=16), ADDITIVE.with_(table_bits=16)]
)
def test_a_simulated_linear_is_the_golden_model_but_for_rounding(model, scheme):
    found = quantize(model, layers=[1], scheme=scheme, **SMALL)
    module = simulated(model.module, found.linears)
    for name, linear in found.linears.items():
        x = numerics.dequantize(found.samples[name], np.repeat(linear.exponents, 2)).astype(np.float32)
        with torch.no_grad():
            y = module.get_submodule(name)(torch.from_numpy(x)).numpy()
        golden = interpreter.linear(linear, integer_input(linear, x), linear.scheme.row_sources[-1])
        golden = numerics.dequantize(golden, linear.out_exponent)
        assert np.linalg.norm(y - golden) < 2e-3 * np.linalg.norm(golden)


def test_only_the_copy_is_changed(model):
    before = perplexity(model.module, WINDOWS)
    found = quantize(model, layers=[0], scheme=EXACT.with_(R=1, G=48), **SMALL)
    module = simulated(model.module, found.linears)
    assert perplexity(module, WINDOWS) != before and perplexity(model.module, WINDOWS) == before
    assert module.model.embed_tokens.weight is model.module.model.embed_tokens.weight


def test_centroids_are_the_nearest_and_get_the_gradient(model):
    found = quantize(model, layers=[0], scheme=ADDITIVE, **SMALL)
    linear = next(iter(found.linears.values()))
    source = SimulatedInput(linear)
    source.gradient = torch.zeros(source.books.shape)
    x = torch.from_numpy(
        numerics.dequantize(next(iter(found.samples.values())), np.repeat(linear.exponents, 2))
    ).float()
    x.requires_grad_(True)
    seen = source(x)
    assert source(x) is seen
    weight = torch.arange(x.numel()).reshape(x.shape).float()
    (seen * weight).sum().backward()
    assert torch.equal(x.grad, weight)
    step = np.exp2(linear.exponents.astype(float))[:, None]
    wanted = weight.numpy().sum(axis=0).reshape(-1, 2) * step
    for stage in range(2):
        np.testing.assert_allclose(source.gradient[:, stage].sum(dim=1).numpy(), wanted, rtol=1e-4)


@pytest.mark.parametrize("metric", ["l2", "chebyshev"])
def test_the_search_in_pytorch_is_the_one_compiled(metric):
    values = np.random.default_rng(0).integers(-32768, 32767, (50, 24))
    books = np.random.default_rng(1).integers(-32768, 32767, (12, 2, 16, 2)).astype(np.float64)
    seen, indices = np.empty((50, 24), np.float32), np.empty((2, 50, 12), np.int16)
    nearest_tokens(values, books, METRIC[metric], np.ones(12, np.float32), seen, indices)
    found = search_tokens(torch.from_numpy(values.reshape(50, 12, 2)).double(), torch.from_numpy(books), METRIC[metric])
    np.testing.assert_array_equal(found[0].reshape(50, 24).numpy(), seen)
    np.testing.assert_array_equal(found[1].numpy(), indices)


def test_curvature_is_the_mean_squared_gradient(model):
    name = "model.layers.1.mlp.down_proj"
    found = curvatures(model.module, [name, "lm_head"], WINDOWS[:1])
    moved = []
    for step in (1e-2, -1e-2):
        bias = torch.zeros(model.module.get_submodule(name).out_features)
        handle = model.module.get_submodule(name).register_forward_hook(lambda _m, _a, y, b=bias: y + b)
        bias[3] = step
        moved.append(np.log(perplexity(model.module, WINDOWS[:1])))
        handle.remove()
    slope = (moved[0] - moved[1]) / 2e-2 * 31  # of the sum over tokens, moved at all tokens at once
    assert found[name].shape == (model.module.get_submodule(name).out_features,)
    assert (found[name] >= 0).all() and found[name].max() > 0
    assert slope**2 <= 32 * 31 * found[name][3] * 1.05  # Cauchy-Schwarz: (sum g)^2 <= T sum g^2
    with torch.no_grad():
        logits = model.module(torch.from_numpy(WINDOWS[0])[None]).logits[0, :-1].double()
    p = torch.softmax(logits, -1) - torch.nn.functional.one_hot(torch.from_numpy(WINDOWS[0][1:]), logits.shape[-1])
    np.testing.assert_allclose(found["lm_head"], p.square().mean(dim=0).numpy(), rtol=1e-3)


def test_a_model_of_bfloat16_stays_one():
    x = torch.randn(3, 12, generator=torch.Generator().manual_seed(1))
    for scheme in (EXACT, PAPER):
        linear = random_linear(12, 20, scheme, 0)
        part = SimulatedLinear(linear, None if linear.codebook is None else SimulatedInput(linear))
        got, wanted = part(x.bfloat16()), part(x)
        assert got.dtype == torch.bfloat16 and wanted.dtype == torch.float32
        assert float((got.float() - wanted).norm()) < 0.1 * float(wanted.norm())
