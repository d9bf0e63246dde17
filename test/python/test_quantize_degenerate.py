"""Models with parts that are zero, as pruned and freshly grown ones have: quantized like any other; zeros stay zero."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lutllm.models import load  # noqa: E402
from lutllm.models.text import default_text, token_ids  # noqa: E402
from lutllm.quantizer.constants import quantize_attention  # noqa: E402
from lutllm.quantizer.recipe import Recipe, Rule  # noqa: E402
from lutllm.quantizer.whole import quantize_model  # noqa: E402
from lutllm.run.session import GoldenSession  # noqa: E402

PARTS = {
    "a layer": ("layers.0.", "exact"),
    "queries": ("q_proj", "exact"),
    "keys": ("k_proj", "exact"),
    "values": ("v_proj", "exact"),
    "a projection of a layer": ("0.mlp.down_proj", "additive"),
    "a norm before attention": ("0.input_layernorm", "exact"),
    "the last norm": ("model.norm", "paper"),
    "the embedding": ("embed_tokens", "exact"),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_zero(name, tmp_path):
    """No number is divided by zero, and what is zero in floats is zero in integers."""
    part, scheme = PARTS[name]
    model = load("tiny-llama")
    for parameter, tensor in model.module.named_parameters():
        if part in parameter:
            tensor.zero_()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        options = {"text": default_text(), "tokens": 128, "window": 64, "distillation": 1, "progress": False}
        made = quantize_model(model, tmp_path, Recipe((Rule(scheme=scheme),)), **options).model
    for linear in (linear for linear in made.linears.values() if part in linear.name):
        assert not linear.weight_codebook.any() and not linear.bias.any()
    ids = np.array([5, 17, 200, 3])
    session = GoldenSession.of(made, 8)
    logits = session.forward(ids, all_logits=True) * 2.0**session.logit_exponent
    wanted = model.module(token_ids(ids)).logits[0].numpy()
    if not wanted.any():
        assert not logits.any()
    else:
        assert np.linalg.norm(logits - wanted) < 0.9 * np.linalg.norm(wanted)


def test_a_head_that_is_zero_among_others():
    """Its exponents do not make the other heads coarser."""
    peak = np.random.default_rng(0).uniform(0.5, 2.0, (2, 8))
    constants, arrays = quantize_attention("a", 0.35, peak, peak, peak)
    silent = peak * [[1.0], [0.0]]
    other, found = quantize_attention("a", 0.35, silent, silent, silent)
    for part in ("query", "key", "value"):
        first = slice(0, 4)  # pairs of head 0
        assert np.array_equal(found[f"{part}.exponents"][first], arrays[f"{part}.exponents"][first])
    assert found["multiplier"][0] == arrays["multiplier"][0] and other == constants
