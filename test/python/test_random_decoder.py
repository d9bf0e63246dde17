"""Random decoders: the same integers for the same seed, valid ones, of a size at which no op degenerates."""

import numpy as np
import pytest

from lutllm import interpreter
from lutllm.decoder import Decoder
from lutllm.quantize.random_decoder import decoder_like, random_decoder
from lutllm.quantize.ranges import validate
from lutllm.scheme import ADDITIVE, EXACT, PAPER, Scheme
from lutllm.store import check_linear

SCHEMES = {"paper": PAPER, "additive": ADDITIVE, "exact": EXACT}


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_linears_are_valid_and_share_their_inputs(scheme: Scheme) -> None:
    made = random_decoder(decoder_like(layers=1, qk_norm=True), scheme, bias=True)
    for linear in made.linears.values():
        validate(check_linear(linear))
    for layer in made.decoder.layers:
        a = layer.attention
        for group in ((a.query, a.key, a.value), (layer.gate, layer.up)):
            readers = [made.linears[name] for name in group]
            assert {r.input_name for r in readers} == {f"{group[0]}.input"}
            assert all(np.array_equal(r.exponents, readers[0].exponents) for r in readers)
            if scheme.kind == "vq":
                assert all(np.array_equal(r.codebook, readers[0].codebook) for r in readers)
    assert set(made.linears) == set(made.decoder.linears)
    assert set(made.norms) == {norm.name for norm in made.decoder.norms}


def test_outputs_are_around_one() -> None:
    made = random_decoder(decoder_like(layers=1), EXACT)
    rng = np.random.default_rng(1)
    for linear in made.linears.values():
        x = rng.normal(0, 1, (16, 2 * linear.pairs)) / np.exp2(np.repeat(linear.exponents.astype(float), 2))
        y = interpreter.linear(linear, np.clip(np.rint(x), -(1 << 15), (1 << 15) - 1).astype(np.int64))
        assert 0.5 < (y * 2.0**linear.out_exponent).std() < 2


def test_scores_of_a_head_have_one_exponent() -> None:
    decoder = decoder_like(heads=6, kv_heads=2, head_dim=8, layers=1)
    attention = random_decoder(decoder, EXACT).attentions["model.layers.0.self_attn"]
    keys = np.repeat(attention.key_exponents.reshape(2, 4), 3, axis=0)
    assert len(np.unique(attention.query_exponents.reshape(6, 4) + keys)) == 1
    assert attention.multiplier.min() > 0 and attention.multiplier.max() < 1 << 15


def test_same_seed_same_integers() -> None:
    first, again, other = (random_decoder(decoder_like(layers=1), EXACT, seed).tensors() for seed in (3, 3, 4))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_a_scheme_for_each_linear() -> None:
    made = random_decoder(decoder_like(layers=1), lambda name: PAPER if ".mlp." in name else EXACT)
    assert made.linears["lm_head"].scheme == EXACT
    assert made.linears["model.layers.0.mlp.down_proj"].scheme == PAPER


def test_a_structure_survives_json() -> None:
    decoder = decoder_like(qk_norm=True)
    assert Decoder.from_dict(decoder.to_dict()) == decoder
