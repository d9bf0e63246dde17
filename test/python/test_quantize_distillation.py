"""Distillation: the divergence falls, codes stay, integers follow, and an interrupted run gives the same bytes."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lutllm.models import load  # noqa: E402
from lutllm.quantize import quantize, validate  # noqa: E402
from lutllm.quantize.observe.distillation import Distillation, distill, divergence  # noqa: E402
from lutllm.quantize.observe.recording import linears  # noqa: E402
from lutllm.quantize.observe.simulated import simulated  # noqa: E402
from lutllm.scheme import ADDITIVE, EXACT  # noqa: E402

SMALL = {"tokens": 512, "window": 64, "progress": False, "seed": 7}


@pytest.fixture(scope="module")
def model():
    return load("tiny-llama", seed=1)


@pytest.fixture(scope="module", params=[EXACT.with_(R=1, G=48), ADDITIVE.with_(c_a=4, R=1, metric="l2")])
def quantized(request, model):
    names = [*linears(model.module), "lm_head"]
    return quantize(model, layers=names, scheme=request.param, **SMALL).linears


@pytest.fixture(scope="module")
def windows():
    return np.random.default_rng(0).integers(0, 300, (24, 64))


def mean_divergence(model, linears, windows):
    module, total = simulated(model.module, linears), 0.0
    with torch.no_grad():
        for window in windows:
            ids = torch.from_numpy(window)[None]
            total += float(divergence(module(ids).logits[0], model.module(ids).logits[0]))
    return total / len(windows)


def same(a, b):
    for name in a:
        left, right = a[name].tensors(), b[name].tensors()
        assert all(np.array_equal(left[key], right[key]) for key in left)


def test_the_divergence_falls_and_codes_stay(model, quantized, windows):
    found = distill(model.module, quantized, windows, progress=False)
    assert list(found) == list(quantized)
    for name, linear in found.items():
        validate(linear)
        np.testing.assert_array_equal(linear.codes, quantized[name].codes)
        np.testing.assert_array_equal(linear.exponents, quantized[name].exponents)
    assert mean_divergence(model, found, windows) < 0.97 * mean_divergence(model, quantized, windows)


def test_without_a_step_nothing_changes(model, quantized, windows):
    kept = Distillation(model.module, quantized, 1).linears()
    for name, linear in kept.items():
        np.testing.assert_array_equal(linear.weight_codebook, quantized[name].weight_codebook)
    assert mean_divergence(model, kept, windows) == pytest.approx(mean_divergence(model, quantized, windows), rel=1e-3)


def test_an_interrupted_run_goes_on(model, quantized, windows, tmp_path, monkeypatch):
    monkeypatch.setattr("lutllm.quantize.observe.distillation.REPORT", 3)
    whole = distill(model.module, quantized, windows[:7], progress=False)
    checkpoint = tmp_path / "state.safetensors"
    real, left = Distillation.step, [4]

    def dying(self, window):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(self, window)

    with monkeypatch.context() as patch:
        patch.setattr(Distillation, "step", dying)
        with pytest.raises(KeyboardInterrupt):
            distill(model.module, quantized, windows[:7], checkpoint=checkpoint, progress=False)
    assert checkpoint.exists()
    left[0] = 4  # steps after the checkpoint, not from the start
    monkeypatch.setattr(Distillation, "step", dying)
    same(distill(model.module, quantized, windows[:7], checkpoint=checkpoint, progress=False), whole)
    same(distill(model.module, quantized, windows[:7], checkpoint=checkpoint, progress=False), whole)
