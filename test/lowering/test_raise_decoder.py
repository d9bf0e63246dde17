"""Raising: Llama and Qwen3 of every shape give their structure; what is no decoder is refused, nothing skipped."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from lutllm import models, store  # noqa: E402
from lutllm.bindings import ir  # noqa: E402
from lutllm.decoder import Decoder  # noqa: E402
from lutllm.errors import IRError, LutllmError  # noqa: E402
from lutllm.importer import ImportedModule, import_module  # noqa: E402
from lutllm.lowering import PASSES  # noqa: E402
from lutllm.lowering.decoder_spec import difference, read_decoder_spec  # noqa: E402
from lutllm.lowering.levels import check_level  # noqa: E402
from lutllm.lowering.pipelines import to_decoder  # noqa: E402
from lutllm.lowering.torch_ir.decoder import Raised, raise_decoder, read_decoder  # noqa: E402
from lutllm.lowering.torch_ir.reader import DOWNSTREAM  # noqa: E402
from lutllm.models.hf import empty_module, make_config  # noqa: E402
from lutllm.models.wrappers import whole_model  # noqa: E402
from lutllm.passes import run_pipeline  # noqa: E402
from lutllm.quantize.random_decoder import decoder_like  # noqa: E402

BASE: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}
INPUTS = Path(__file__).parent / "Inputs" / "torch-raise-decoder"


def model(kind: str = "llama", attention: str = "eager", dtype: Any = None, **changes: Any) -> Any:
    module = empty_module(make_config({"model_type": kind, **BASE, **changes}, "test"), "test", dtype)
    module.set_attn_implementation(attention)
    return module


def imported(module: Any, tokens: int = 6) -> ImportedModule:
    wrapped, arguments = whole_model(module, tokens)
    return import_module(wrapped, arguments)


def raised(module: Any) -> Decoder:
    found = imported(module)
    with found.context:
        return raise_decoder(found.module, found.parameters)


def refused(module: Any) -> Raised:
    found = imported(module)
    with found.context:
        return read_decoder(found.module, found.parameters)


# kind, attention, changes: GQA ratios 1, 2, 3, 8; tied and untied; one layer and three; biases; bfloat16
MODELS = [
    ("llama", "eager", {}),
    ("llama", "sdpa", {"num_key_value_heads": 4, "num_hidden_layers": 3}),
    ("llama", "eager", {"num_attention_heads": 3, "num_key_value_heads": 1, "tie_word_embeddings": False}),
    ("llama", "sdpa", {"num_attention_heads": 6, "head_dim": 4, "attention_bias": True}),
    ("llama", "eager", {"num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 6}),
    ("llama", "sdpa", {"num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 24, "mlp_bias": True}),
    ("llama", "eager", {"dtype": torch.bfloat16}),
    ("qwen3", "eager", {"num_hidden_layers": 3}),
    ("qwen3", "sdpa", {"num_attention_heads": 8, "num_key_value_heads": 1, "tie_word_embeddings": False}),
    ("qwen3", "sdpa", {"num_key_value_heads": 4, "head_dim": 2, "dtype": torch.bfloat16}),
]


@pytest.mark.parametrize(("kind", "attention", "changes"), MODELS)
def test_structure(kind: str, attention: str, changes: dict[str, Any]) -> None:
    values = {**BASE, **changes}
    expected = decoder_like(
        hidden=values["hidden_size"],
        intermediate=values["intermediate_size"],
        layers=values["num_hidden_layers"],
        heads=values["num_attention_heads"],
        kv_heads=values["num_key_value_heads"],
        head_dim=values["head_dim"],
        vocabulary=values["vocab_size"],
        qk_norm=kind == "qwen3",
    )
    got = raised(model(kind, attention, **changes))
    assert got.inverse_frequencies == pytest.approx(expected.inverse_frequencies)
    assert difference(expected, Decoder(**{**vars(got), "inverse_frequencies": ()})) is None


def test_scaled_rope() -> None:
    scaling = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
    module = model(rope_parameters=scaling)
    got = raised(module)
    assert got.rope_scale == pytest.approx(1.1386, abs=1e-4)
    assert got.inverse_frequencies == tuple(module.model.rotary_emb.inv_freq.tolist())


def test_smollm2() -> None:
    try:
        loaded = models.load("smollm2-135m", layers=2, fill=False)
    except Exception as error:
        pytest.skip(f"needs the weights of SmolLM2, got {error}; run `make demo` once")
    got = raised(loaded.module)
    a = got.layers[1].attention
    assert (a.heads, a.kv_heads, a.head_dim, got.hidden, got.vocabulary) == (9, 3, 64, 576, 49152)
    assert (a.name, got.layers[1].name) == ("model.layers.1.self_attn", "model.layers.1")


def swapped(path: str, part: Any) -> Any:
    """A Llama with another part in one place."""
    module = model()
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, part)
    return module


class ScaledUp(torch.nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.nn.functional.silu(x) * 2.0


# model, first op, its module, part of what was expected
REFUSED = {
    "gelu": (lambda: model(hidden_act="gelu"), "aten.gelu", "model.layers.0.mlp.act_fn", "got another"),
    "layer norm": (
        lambda: swapped("model.layers.0.input_layernorm", torch.nn.LayerNorm(24)),
        "aten.sum.dim_IntList",
        "model.layers.0.input_layernorm",
        "mean of squares",
    ),
    "scaled activation": (
        lambda: swapped("model.layers.0.mlp.act_fn", ScaledUp()),
        "aten.mul.Scalar",
        "model.layers.0.mlp.act_fn",
        "scores, cosines or sines times a number",
    ),
    "window, eager": (
        lambda: model("qwen3", use_sliding_window=True, sliding_window=4, max_window_layers=0),
        "aten.add.Tensor",
        "model.layers.0.self_attn",
        "got scores plus another input of the model",
    ),
    "window, sdpa": (
        lambda: model("qwen3", "sdpa", use_sliding_window=True, sliding_window=4, max_window_layers=0),
        "aten.scaled_dot_product_attention",
        "model.layers.0.self_attn",
        "the model's causal mask, got another mask",
    ),
    "odd width": (
        lambda: model(intermediate_size=41),
        "aten.linear",
        "model.layers.0.mlp.down_proj",
        "expected an even input width",
    ),
    "scaled embedding and residual": (
        lambda: foreign("Granite", embedding_multiplier=2.0, residual_multiplier=0.5),
        "aten.mul.Scalar",
        "model",
        "times a number",
    ),
    "softcap": (lambda: foreign("Gemma2"), "aten.tanh", "model.layers.0.self_attn", "got another"),
    "norm after": (lambda: foreign("Olmo2"), "aten.add.Tensor", "model.layers.0", "got embedding plus norm"),
    "partial RoPE": (
        lambda: foreign("StableLm", hidden_size=32, partial_rotary_factor=0.25),
        "aten.slice.Tensor",
        "model.layers.0.self_attn",
        "rotates the halves of all 8 channels of a head, got channels 0..1",
    ),
}


def foreign(name: str, **changes: Any) -> Any:
    """A model of transformers that lutllm does not load."""
    config = getattr(transformers, f"{name}Config")(**{**BASE, "pad_token_id": 0, **changes})
    return getattr(transformers, f"{name}ForCausalLM")(config).eval()


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(what: str) -> None:
    make, op, module, expected = REFUSED[what]
    found = refused(make())
    assert found.decoder is None
    roots = [u for u in found.unmatched if u.expected != DOWNSTREAM]
    match = [u for u in roots if u.op == f"torch.{op}" and u.module == module]
    assert match and expected in match[0].expected, roots
    assert match[0].location


def test_layers_that_do_not_fit_together() -> None:
    """Every op is known, but not where it stands."""
    module = model()
    layer = module.model.layers[0]
    layer.mlp.register_forward_pre_hook(lambda _, args: (layer.self_attn.probe,))
    layer.input_layernorm.register_forward_hook(lambda _, args, y: setattr(layer.self_attn, "probe", y))
    found = refused(module).unmatched
    assert [(u.op, u.module) for u in found] == [("torch.aten.linear", "model.layers.0.mlp.gate_proj")]
    assert "an input that is the RMSNorm of the residual stream" in found[0].expected


def test_one_error_names_op_module_place_and_what_was_expected() -> None:
    found = imported(model(hidden_act="gelu", num_hidden_layers=3))
    with found.context, pytest.raises(IRError) as error:
        raise_decoder(found.module)
    text = str(error.value)
    assert text.startswith("transformers/activations.py:")
    assert "error: 'torch.aten.gelu' op in 'model.layers.0.mlp.act_fn': expected an op of RMSNorm" in text
    assert "'torch.aten.gelu' op in 'model.layers.1.mlp.act_fn' (transformers/activations.py:" in text
    assert text.endswith("and 3 more; `lutllm check` lists them all")


def test_pass_from_text() -> None:
    text = (INPUTS / "model.mlir").read_text()
    module = parsed(text)
    run_pipeline(module, to_decoder(str(INPUTS), 4), passes=PASSES)
    check_level(module, "lut")
    assert [op.operation.attributes["sym_name"].value for op in module.body][-3:] == ["prefill", "decode", "score"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": 10}, "expected hidden = 10, got 8: not the model"),
        ({"positions": 3}, "expected a context of 1..3 tokens, as the RoPE tables have positions, got 4"),
        ({"norms": {}}, "expected quantized parameters of 'model.layers.0.input_layernorm', got none"),
    ],
)
def test_parameters_of_another_model(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    sidecar = store.read_json(INPUTS / store.SIDECAR)
    section = sidecar["decoder"]
    for key, value in change.items():
        (section["structure"] if key in section["structure"] else section)[key] = value
    store.write_json(tmp_path / store.SIDECAR, sidecar)
    module = parsed((INPUTS / "model.mlir").read_text())
    with pytest.raises(LutllmError, match=message):
        run_pipeline(module, to_decoder(str(tmp_path), 4), passes=PASSES)


def test_linears_alone_are_no_decoder() -> None:
    with pytest.raises(LutllmError, match=r"torch-to-lut/quantization\.json': expected the description of"):
        read_decoder_spec(INPUTS.parent / "torch-to-lut")


def parsed(text: str) -> ir.Module:
    from lutllm import dialect
    from lutllm.bindings import load_torch_dialects

    context = dialect.context()
    load_torch_dialects(context)
    return ir.Module.parse(text, context)
