"""Whole Llama and Qwen3 models, and single decoder layers, at torch level."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from lutllm import models  # noqa: E402
from lutllm.errors import InputError  # noqa: E402
from lutllm.importer import import_module  # noqa: E402
from lutllm.lowering.raising.linears import linear_name, linears_in, weight_symbol  # noqa: E402
from lutllm.models.wrappers import causal_mask, decoder_layer, whole_model  # noqa: E402

LAYER = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
LAYER += ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]


def names(imported):
    with imported.context:
        return [linear_name(op, {}) for op in linears_in(imported.module.operation)]


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-qwen3"])
def test_whole_model(name):
    causal_lm = models.load(name).module
    imported = import_module(*whole_model(causal_lm, tokens=8))
    expected = [f"model.layers.{i}.{part}" for i in range(2) for part in LAYER]
    assert names(imported) == [*expected, "lm_head"]
    buffers = {"model.rotary_emb.inv_freq"}
    assert imported.parameters.keys() - buffers == {n for n, _ in causal_lm.named_parameters()}
    text = imported.text()
    assert text.count("torch.aten.scaled_dot_product_attention") == 2
    assert f"transformers/models/{name.removeprefix('tiny-')}/modeling_" in text
    assert "site-packages" not in text


def test_tied_head_reads_the_embedding():
    imported = import_module(*whole_model(models.load("tiny-llama").module, tokens=8))
    with imported.context:
        head = linears_in(imported.module.operation)[-1]
        assert (linear_name(head, {}), weight_symbol(head)) == ("lm_head", "model.embed_tokens.weight")


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-qwen3"])
@pytest.mark.parametrize("index", [0, 1])
def test_decoder_layer(name, index):
    causal_lm = models.load(name).module
    imported = import_module(*decoder_layer(causal_lm, index, tokens=8))
    assert names(imported) == [f"model.layers.{index}.{part}" for part in LAYER]
    assert set(imported.parameters) == {n for n, _ in causal_lm.named_parameters() if f".layers.{index}." in n}


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-qwen3"])
def test_wrappers_compute_what_the_model_computes(name):
    causal_lm = models.load(name).module
    ids = torch.randint(0, 256, (1, 8), generator=torch.Generator().manual_seed(0))
    positions = torch.arange(8)[None]
    with torch.no_grad():
        expected = causal_lm(ids, output_hidden_states=True)
        module, _ = whole_model(causal_lm, 8)
        assert torch.allclose(module(ids, positions, causal_mask(8)), expected.logits, atol=1e-5)
        layer, (_, cos, sin, mask) = decoder_layer(causal_lm, 0, 8)
        hidden = layer(expected.hidden_states[0], cos, sin, mask)
    assert torch.allclose(hidden, expected.hidden_states[1], atol=1e-5)


def test_bfloat16_layer():
    causal_lm = models.load("qwen3-1.7b", layers=1, fill=False).module
    imported = import_module(*decoder_layer(causal_lm, 0, tokens=4))
    assert names(imported) == [f"model.layers.0.{part}" for part in LAYER]
    assert "tensor<6144x2048xbf16>" in imported.text()


@pytest.mark.parametrize("index", [-1, 2])
def test_layer_that_does_not_exist(index):
    with pytest.raises(InputError, match=rf"expected a decoder layer in 0\.\.1, got {index}"):
        decoder_layer(models.load("tiny-llama").module, index)
