"""A whole model in the store: what is read is what was written; arrays and numbers that do not fit are refused."""

import copy
import json

import numpy as np
import pytest

from lutllm import store
from lutllm.dialect import RmsNormOp, lut_ops
from lutllm.errors import InputError, IRError
from lutllm.quantization import AttentionConstants, EmbeddingConstants, NormConstants, RopeConstants
from lutllm.quantized.model_check import check_model
from lutllm.quantized.pretrained import from_pretrained, save_pretrained
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import ADDITIVE, EXACT

LAYER = "model.layers.0"
OWN = f"{LAYER}.self_attn"
NORM = f"{LAYER}.input_layernorm"


@pytest.fixture(scope="module", params=[False, True], ids=["llama", "qwen3"])
def model(request):
    module = float_decoder(layers=1, qk_norm=request.param)
    return random_model(module, lambda n: EXACT if "mlp" in n else ADDITIVE)


def test_a_model_comes_back_as_it_was_and_bytes_repeat(tmp_path, model):
    save_pretrained(model, tmp_path / "a")
    back = from_pretrained(tmp_path / "a")
    assert back.constants == model.constants and back.quantization.linears == model.quantization.linears
    wanted, got = model.tensors, back.tensors
    assert set(wanted) == set(got)
    for name, array in wanted.items():
        assert array.dtype == got[name].dtype, name
        np.testing.assert_array_equal(array, got[name])
    save_pretrained(back, tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    assert list(store.load_linears(tmp_path / "a")) == list(model.linears)


def bumped(array):
    array = array.copy()
    array[0] += 1
    return array


@pytest.mark.parametrize(
    ("symbol", "change", "message"),
    [
        ("model.embed_tokens.rows", lambda a: a[:-1], r"rows': expected int8 \[320, 48\], got int8 \[319, 48\]; quant"),
        ("model.embed_tokens.multiplier", lambda a: a * 0, r"multiplier': expected values in 1..32767, got 0..0"),
        (f"{NORM}.gain", lambda a: a + (1 << 23), r"gain': expected values in -8388607..8388607"),
        (f"{OWN}.query.exponents", bumped, r"query.exponents': expected exponents .* add up to one number in head 0"),
        (f"{OWN}.multiplier", lambda a: a + (1 << 15), r"multiplier': expected values in 1..32767"),
        ("rope.sines", lambda a: a[:, :-1], r"'rope.sines': expected int16 \[64, 6\], got int16 \[64, 5\]"),
        ("rope.cosines", lambda a: None, r"'rope.cosines': expected int16 \[64, 6\], got none"),
    ],
)
def test_an_array_that_does_not_fit_is_named(model, symbol, change, message):
    arrays = {**model.arrays, symbol: change(model.arrays[symbol])}
    with pytest.raises(InputError, match=message):
        check_model(model.lut(), {k: v for k, v in arrays.items() if v is not None}, model.linears)


def test_linears_are_checked_with_their_shared_inputs(model):
    linears = copy.deepcopy(model.linears)
    linears[f"{OWN}.k_proj"].exponents = bumped(linears[f"{OWN}.k_proj"].exponents)
    with pytest.raises(InputError, match=r"q_proj.input.exponents': expected one value for all linears that read"):
        check_model(model.lut(), model.arrays, linears)


@pytest.mark.parametrize(
    ("name", "constants", "message"),
    [
        ("model.embed_tokens", EmbeddingConstants(48, -16), r"'lut.embedding' op expected shift in 0..47, got 48"),
        (NORM, NormConstants(-1, 4, -20), r"'lut.rms_norm' op expected shift in 0..47, got -1"),
        (OWN, AttentionConstants(14, 16), r"'lut.attention' op expected keys to be tensor<MxK_kvxi8"),
        (f"{OWN}.q_proj.rope", RopeConstants("rope", 0), r"expected a context of 1..0 tokens"),
    ],
)
def test_a_number_out_of_its_range_is_named(model, name, constants, message, capfd, tmp_path):
    if name not in model.constants:
        pytest.skip("RoPE of Qwen3 has another name")
    found = copy.copy(model)
    found.constants = {**model.constants, name: constants}
    with pytest.raises((InputError, IRError)) as problem:
        save_pretrained(found, tmp_path)
    assert __import__("re").search(message, problem.value.message + capfd.readouterr().err)
    assert not (tmp_path / "config.json").exists()


def test_every_constant_of_every_op_is_in_the_program(model):
    norms = {op.gain.value: op for op in lut_ops(model.lut()) if isinstance(op, RmsNormOp)}
    for name, constants in model.constants.items():
        if isinstance(constants, NormConstants):
            op = norms[f"{name}.gain"]
            assert (op.shift.value, op.epsilon.value) == (constants.gain_shift, constants.epsilon)


def test_a_damaged_section_is_named(tmp_path, model):
    save_pretrained(model, tmp_path)
    path = tmp_path / store.SIDECAR
    sidecar = json.loads(path.read_text())
    for change, message in (
        (lambda s: s["norms"][NORM].update(size=1), r"section 'norms': expected other constants, got .*'size'"),
        (
            lambda s: s["norms"][NORM].update(epsilon=0.5),
            r"section 'norms': expected other constants, got epsilon = 0.5",
        ),
        (lambda s: s.update(adds=[1]), r"section 'adds': expected other constants, got"),
        (lambda s: s["norms"].pop(NORM), rf"op expected quantized parameters of '{NORM}', got none"),
        (lambda s: s["linears"].pop("lm_head"), r"expected quantized parameters of 'lm_head', got none"),
    ):
        damaged = copy.deepcopy(sidecar)
        change(damaged)
        path.write_text(json.dumps(damaged))
        config = json.loads((tmp_path / "config.json").read_text())
        config["quantization_config"]["sha256"] = store.sha256(path)
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises((InputError, IRError), match=message):
            from_pretrained(tmp_path)
