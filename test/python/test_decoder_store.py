"""A whole decoder in the store: what is read is what was written; what does not fit its structure is refused."""

import copy
import dataclasses
import json

import numpy as np
import pytest

from lutllm import store
from lutllm.decoder_store import check_decoder, load_decoder, save_decoder
from lutllm.errors import InputError
from lutllm.quantize.random_decoder import decoder_like, random_decoder
from lutllm.scheme import ADDITIVE, EXACT

LAYER = "model.layers.0"
OWN = f"{LAYER}.self_attn"


@pytest.fixture(scope="module", params=[False, True], ids=["llama", "qwen3"])
def decoder(request):
    return random_decoder(decoder_like(layers=1, qk_norm=request.param), lambda n: EXACT if "mlp" in n else ADDITIVE)


def test_a_decoder_comes_back_as_it_was_and_bytes_repeat(tmp_path, decoder):
    digest = save_decoder(tmp_path / "a", decoder, about={"from": "a test"})
    back = load_decoder(tmp_path / "a")
    assert (back.decoder, back.residuals) == (decoder.decoder, decoder.residuals)
    for left, right in ((decoder.norms, back.norms), (decoder.attentions, back.attentions)):
        assert list(left) == list(right)
    wanted, got = decoder.tensors(), back.tensors()
    assert list(wanted) == list(got)
    for name, array in wanted.items():
        assert array.dtype == got[name].dtype, name
        np.testing.assert_array_equal(array, got[name])
    assert save_decoder(tmp_path / "b", back, about={"from": "a test"}) == digest
    for file in (store.PARAMETERS, store.SIDECAR):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert list(store.load_linears(tmp_path / "a")) == list(decoder.linears)


def changed(decoder, path, value):
    """A copy of `decoder` with one attribute or item changed; a function is given what was there."""
    found = copy.deepcopy(decoder)
    *way, last = path
    at = found
    for step in way:
        at = at[step] if isinstance(at, dict) else getattr(at, step)
    old = at.get(last) if isinstance(at, dict) else getattr(at, last)
    new = value(old) if callable(value) else value
    if isinstance(at, dict):
        at.pop(last, None)
        at.update({} if new is None else {last: new})
    else:
        setattr(at, last, new)
    return found


def bumped(array):
    array = array.copy()
    array[0] += 1
    return array


NORM = f"{LAYER}.input_layernorm"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            ("embedding", "rows"),
            lambda a: a[:-1],
            r"'model.embed_tokens.rows': expected int8 \[320, 48\], got int8 \[319",
        ),
        (("embedding", "multiplier"), lambda a: a * 0, r"multiplier': expected values in 1..32767, got 0..0"),
        (("embedding", "shift"), 48, r"model.embed_tokens: shift: expected a whole number in 0..47, got 48"),
        (("norms", NORM, "gain"), lambda a: a + (1 << 23), r"gain': expected values in -8388607..8388607"),
        (("norms", NORM, "gain_shift"), -1, r"gain_shift: expected a whole number in 0..47, got -1"),
        (("norms", NORM, "epsilon"), 0.5, r"epsilon: expected a whole number in 0..\d+, got 0.5"),
        (("norms", NORM), None, rf"norms: expected those of .* in the structure, got \d: '{NORM}' is missing"),
        (("norms", "odd"), 1, r"norms: expected those of .*: 'odd' is unknown"),
        (("attentions", OWN, "query_exponents"), bumped, r"add up to one number in head 0, got -\d+..-\d+"),
        (("attentions", OWN, "multiplier"), lambda a: a + (1 << 15), r"multiplier': expected values in 1..32767"),
        (("attentions", OWN, "cache_bits"), 16, r"expected scores of at most 32 bits, got 3\d; use fewer cache bits"),
        (("residuals", f"{LAYER}.mlp"), 200, rf"residual '{LAYER}.mlp': expected a whole number in -128..127, got 200"),
        (("sines",), lambda a: a[:, :-1], r"'rope.sines': expected int16 \[64, 6\], got int16 \[64, 5\]"),
        (("linears", "lm_head"), None, r"linears: expected those .*: 'lm_head' is missing"),
        (
            ("linears", f"{OWN}.k_proj", "input_name"),
            "other",
            rf"expected {OWN}.q_proj, .* to read one input, got {OWN}.q_proj.input, other",
        ),
    ],
    ids=lambda v: ".".join(map(str, v)) if isinstance(v, tuple) else None,
)
def test_what_does_not_fit_is_named(decoder, path, value, message):
    with pytest.raises(InputError, match=message):
        check_decoder(changed(decoder, path, value))


def test_a_linear_of_another_shape_is_named(decoder):
    other = dataclasses.replace(decoder.decoder, vocabulary=321)
    found = copy.copy(decoder)
    found.decoder = other
    found.embedding = changed(decoder, ("embedding", "rows"), lambda a: np.vstack([a, a[:1]])).embedding
    found.embedding.multiplier = np.append(found.embedding.multiplier, np.int32(1))
    with pytest.raises(InputError, match="'lm_head': expected 321 outputs of 48 inputs, got 320 of 48"):
        check_decoder(found)


def test_a_damaged_section_is_named(tmp_path, decoder):
    save_decoder(tmp_path, decoder)
    sidecar = json.loads((tmp_path / store.SIDECAR).read_text())
    for change, message in (
        (lambda s: s["decoder"]["structure"].pop("head"), r"section 'decoder': expected another form"),
        (lambda s: s["decoder"]["norms"][NORM].update(size=1), r"section 'decoder': expected another form"),
        (lambda s: s.pop("decoder"), r"expected a section 'decoder', got linears alone; quantize the whole model"),
    ):
        damaged = copy.deepcopy(sidecar)
        change(damaged)
        (tmp_path / store.SIDECAR).write_text(json.dumps(damaged))
        with pytest.raises(InputError, match=message):
            load_decoder(tmp_path)
