"""The integers of norms, embedding, attention and residual stream: what they mean is what the float model computes."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lutllm.decoder import NORM_BITS, RESIDUAL_BITS, Attention, Norm, rope_tables  # noqa: E402
from lutllm.decoder_store import check_decoder  # noqa: E402
from lutllm.errors import InputError  # noqa: E402
from lutllm.lowering.decoder_to_lut import decoder_to_lut  # noqa: E402
from lutllm.models import load  # noqa: E402
from lutllm.models.text import default_text, windows  # noqa: E402
from lutllm.quantize import quantize  # noqa: E402
from lutllm.quantize.decoder_parameters import (  # noqa: E402
    quantize_attention,
    quantize_decoder,
    quantize_embedding,
    quantize_norm,
    record_peaks,
)
from lutllm.quantize.random_decoder import decoder_like  # noqa: E402
from lutllm.quantize.simulated import simulated  # noqa: E402
from lutllm.scheme import EXACT  # noqa: E402
from lutllm.session import GoldenSession  # noqa: E402

ATTENTION = Attention("attn", 4, 2, 8, 8**-0.5, "q", "k", "v", "o")


def structure(model):
    c = model.config
    return decoder_like(
        head_dim=c.head_dim,
        qk_norm=c.model_type == "qwen3",
        epsilon=c.rms_norm_eps,
        theta=c.rope_parameters["rope_theta"],
    )


@pytest.fixture(scope="module", params=["tiny-llama", "tiny-qwen3"])
def quantized(request):
    """(model, its structure, calibration windows, the whole of it in integers)"""
    model = load(request.param, seed=3)
    decoder = structure(model)
    chosen = windows(model.tokenizer, default_text(), 64, 6)
    names = {"layers": list(decoder.linears), "text": default_text(), "tokens": 512, "window": 64}
    linears = quantize(model, scheme=EXACT.with_(G=64), progress=False, **names).linears
    return model, decoder, chosen, quantize_decoder(model.module, decoder, linears, chosen[:4], 512)


def test_the_integer_program_follows_the_model_with_float_tables(quantized):
    model, _, chosen, decoder = quantized
    session = GoldenSession(decoder_to_lut(check_decoder(decoder), 64), decoder.tensors())
    module = simulated(model.module, decoder.linears)
    for window in chosen[4:]:
        session.reset()
        got = session.forward(window, all_logits=True) * 2.0**session.logit_exponent
        with torch.no_grad():
            wanted = module(torch.from_numpy(window)[None], use_cache=False).logits[0].numpy()
        assert np.linalg.norm(got - wanted) < 0.03 * np.linalg.norm(wanted), "most of it from 8-bit values"


def test_nothing_seen_in_calibration_leaves_its_width(quantized):
    model, structure, chosen, decoder = quantized
    peaks = record_peaks(model.module, structure, chosen[:4])
    assert list(peaks.stream) == list(decoder.residuals)
    for name, exponent in decoder.residuals.items():
        assert peaks.stream[name] * 2 <= 2.0 ** (exponent + RESIDUAL_BITS - 1) < peaks.stream[name] * 8
    for name, norm in decoder.norms.items():
        assert peaks.norms[name] <= 2.0 ** (norm.exponent + NORM_BITS - 1)
    for layer in structure.layers:
        a = decoder.attentions[layer.attention.name]
        for part, exponents, limit in (("key", a.key_exponents, 127), ("value", a.value_exponents, 127)):
            peak = peaks.channels[getattr(layer.attention, part)].reshape(-1, 2).max(axis=1)
            assert (peak <= limit * np.exp2(exponents.astype(float))).all()


def test_peaks_of_keys_hold_for_every_rotation(quantized):
    """RoPE turns channels i and i + C/2 into each other: no position can make a key larger than its peak."""
    model, structure, chosen, _ = quantized
    a = structure.layers[0].attention
    ids = torch.from_numpy(chosen[0])[None]
    source = a.key_norm.name if a.key_norm else a.key
    kept = []
    handle = model.module.get_submodule(source).register_forward_hook(lambda _m, _i, out: kept.append(out))
    with torch.no_grad():
        model.module(ids, use_cache=False)
    handle.remove()
    k = kept[0].reshape(64, a.kv_heads, a.head_dim).numpy()
    half = a.head_dim // 2
    peak = record_peaks(model.module, structure, chosen[:1]).channels[a.key]
    for angle in np.linspace(0, 2 * np.pi, 40):
        rotated = k[..., :half] * np.cos(angle) - k[..., half:] * np.sin(angle)
        assert (np.abs(rotated).max(axis=0) <= peak[:, :half] * 1.0001).all()


def test_a_norm_s_gain_means_its_weight():
    weight = np.random.default_rng(0).normal(1, 0.3, 24)
    norm = quantize_norm(Norm("n", 48, 1e-5, groups=2), weight, peak=3.0, exponent=-13)
    wanted = math.sqrt(24) * weight * 2.0 ** (-22 - norm.exponent)
    np.testing.assert_allclose(norm.gain * 2.0**-norm.gain_shift, wanted, rtol=1e-5)
    assert np.abs(norm.gain).max() < 1 << 23 and norm.gain.dtype == np.int32
    assert norm.epsilon == round(24 * 1e-5 * 2**26)
    largest = math.sqrt(24) * np.abs(weight).max()
    assert largest <= 2.0 ** (norm.exponent + NORM_BITS - 1), "an output can never be larger: no more room is left"


def test_a_norm_without_weights_is_nothing():
    norm = quantize_norm(Norm("n", 8, 1e-5), np.zeros(8), peak=0.0, exponent=-10)
    assert not norm.gain.any() and 0 <= norm.gain_shift <= 47


def test_an_embedding_has_a_scale_a_token():
    weight = np.random.default_rng(0).normal(size=(50, 16)) * np.exp2(np.linspace(-6, 0, 50))[:, None]
    weight[7] = 0
    e = quantize_embedding("e", weight.astype(np.float32))
    got = e.rows * e.multiplier[:, None] * 2.0 ** (e.exponent - e.shift)
    error = np.abs(got - weight).max(axis=1)
    assert (error <= np.abs(weight).max(axis=1) / 127 * 0.52 + 2.0**e.exponent * 64).all()
    assert np.abs(e.rows).max() == 127 and e.multiplier.min() >= 1 and e.multiplier.max() < 1 << 15


def test_scores_of_a_head_have_one_exponent():
    rng = np.random.default_rng(0)
    query, key, value = (np.exp2(rng.uniform(-4, 6, (heads, 8))) for heads in (4, 2, 2))
    query[3] *= 2.0**-12  # a quiet head is made coarser, so that its multiplier keeps its bits
    q = quantize_attention(ATTENTION, query, key, value)
    sums = q.query_exponents.reshape(4, 4).astype(int) + np.repeat(q.key_exponents.reshape(2, 4), 2, axis=0)
    assert (np.ptp(sums, axis=1) == 0).all()
    unit = np.exp2(sums[:, 0] + 16.0) / math.sqrt(8) / math.log(2)
    np.testing.assert_allclose(q.multiplier * 2.0**-q.shift, unit, rtol=1e-3)
    assert 1 << 13 < q.multiplier.max() < 1 << 15
    assert (query.reshape(4, 4, 2).max(axis=2) * 2 <= 32767 * np.exp2(q.query_exponents.reshape(4, 4))).all()
    assert (key.reshape(2, 4, 2).max(axis=2) <= 127 * np.exp2(q.key_exponents.reshape(2, 4))).all()


def test_scores_too_coarse_are_refused():
    loud = np.full((4, 8), 2.0**40)
    with pytest.raises(
        InputError, match=r"'attn': expected scores whose steps lie .* check the weights of 'q' and 'k'"
    ):
        quantize_attention(ATTENTION, loud, loud[:2], loud[:2])


def test_rope_tables_are_rounded_halves_up():
    decoder = decoder_like(head_dim=12)
    cosines, sines = rope_tables(decoder, 100)
    angle = 57 * decoder.inverse_frequencies[2]
    assert cosines.shape == sines.shape == (100, 6) and cosines.dtype == np.int16
    assert cosines[0].tolist() == [1 << 14] * 6 and not sines[0].any()
    assert cosines[57, 2] == math.floor(math.cos(angle) * 2**14 + 0.5)
    assert sines[57, 2] == math.floor(math.sin(angle) * 2**14 + 0.5)


def test_weights_that_are_no_numbers_are_named(quantized):
    model, structure, chosen, decoder = quantized
    broken = load(model.name, seed=3)
    with torch.no_grad():
        broken.module.model.layers[1].input_layernorm.weight[5] = float("nan")
    with pytest.raises(InputError, match=r"'model.layers.1.input_layernorm.weight': expected finite values, got nan"):
        quantize_decoder(broken.module, structure, decoder.linears, chosen[:1], 512)
