"""Distillation: the divergence falls, codes stay, integers follow, and an interrupted run gives the same bytes."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lutllm.models import load  # noqa: E402
from lutllm.quantizer import quantize, validate  # noqa: E402
from lutllm.quantizer.observe.distillation import Distillation, distill, divergence  # noqa: E402
from lutllm.quantizer.observe.recording import linears  # noqa: E402
from lutllm.quantizer.observe.simulated import simulated  # noqa: E402
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


@pytest.mark.parametrize("codes", [False, True])
def test_the_divergence_falls(model, quantized, windows, codes):
    found = distill(model.module, quantized, windows, codes=codes, progress=False)
    assert list(found) == list(quantized)
    for name, linear in found.items():
        validate(linear)
        np.testing.assert_array_equal(linear.exponents, quantized[name].exponents)
    moved = np.mean([np.mean(found[name].codes != quantized[name].codes) for name in found])
    assert 0 < moved < 0.2 if codes else moved == 0
    assert mean_divergence(model, found, windows) < 0.97 * mean_divergence(model, quantized, windows)


def test_without_a_step_nothing_changes(model, quantized, windows):
    kept = Distillation(model.module, quantized, 1).linears()
    for name, linear in kept.items():
        np.testing.assert_array_equal(linear.weight_codebook, quantized[name].weight_codebook)
    assert mean_divergence(model, kept, windows) == pytest.approx(mean_divergence(model, quantized, windows), rel=1e-3)


def test_codes_are_the_nearest(model, quantized):
    """Where points were moved by hand, the sums of the chosen entries are what a search over all sums finds."""
    training = Distillation(model.module, quantized, 1, codes=True)
    for part in list(training.parts.values())[:3]:
        moved = part.points.detach() + 0.3 * torch.randn(part.points.shape, generator=torch.Generator().manual_seed(1))
        part.assign(moved)
        q = part.linear
        book = (part.rounded.reshape(2, q.pairs, q.blocks, -1)).permute(1, 2, 3, 0).numpy()  # one stage: [P, B, c, 2]
        for p, n in [(0, 0), (q.pairs - 1, q.outputs - 1), (1, q.outputs // 2)]:
            far = np.square(book[p, n // q.scheme.G] - moved[:, p, n].numpy()).sum(axis=1)
            assert part.codes[p, 0, n] == far.argmin()


def test_a_batch_is_the_mean_of_its_windows(model, quantized, windows):
    pair, first, second = (Distillation(model.module, quantized, 4) for _ in range(3))
    both = pair.step(windows[:2])
    assert both == pytest.approx((first.step(windows[0]) + second.step(windows[1])) / 2, rel=1e-4)
    name = next(iter(quantized))
    gradients = [each.parts[name].entries.grad for each in (pair, first, second)]
    torch.testing.assert_close(gradients[0], (gradients[1] + gradients[2]) / 2, rtol=1e-2, atol=1e-7)


@pytest.mark.parametrize("codes", [False, True])
def test_an_interrupted_run_goes_on(model, quantized, windows, tmp_path, monkeypatch, codes):
    monkeypatch.setattr("lutllm.quantizer.observe.distillation.REPORT", 3)
    monkeypatch.setattr("lutllm.quantizer.observe.distillation.KEEP", 0.0)
    whole = distill(model.module, quantized, windows[:7], codes=codes, progress=False)
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
            distill(model.module, quantized, windows[:7], codes=codes, checkpoint=checkpoint, progress=False)
    assert checkpoint.exists()
    left[0] = 4  # steps after the checkpoint, not from the start
    monkeypatch.setattr(Distillation, "step", dying)
    same(distill(model.module, quantized, windows[:7], codes=codes, checkpoint=checkpoint, progress=False), whole)
    same(distill(model.module, quantized, windows[:7], codes=codes, checkpoint=checkpoint, progress=False), whole)
