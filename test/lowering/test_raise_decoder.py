"""Raising: Llama and Qwen3 of every shape give their structure; what is no decoder is refused, nothing skipped."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from lutllm import store  # noqa: E402
from lutllm.bindings import ir  # noqa: E402
from lutllm.decoder import Decoder  # noqa: E402
from lutllm.errors import LutllmError  # noqa: E402
from lutllm.importer import ImportedModule, import_module  # noqa: E402
from lutllm.lowering import PASSES  # noqa: E402
from lutllm.lowering.decoder_spec import difference, read_decoder_spec  # noqa: E402
from lutllm.lowering.levels import check_level  # noqa: E402
from lutllm.lowering.pipelines import to_decoder  # noqa: E402
from lutllm.lowering.torch_ir.decoder import Raised, raise_decoder, read_decoder  # noqa: E402
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


MODELS = [
    ("llama", "eager", {"num_attention_heads": 3, "num_key_value_heads": 1, "tie_word_embeddings": False}),
    ("qwen3", "sdpa", {"num_key_value_heads": 4, "head_dim": 2, "num_hidden_layers": 3, "dtype": torch.bfloat16}),
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


def test_layers_that_do_not_fit_together() -> None:
    """Every op is known, but not where it stands."""
    module = model()
    layer = module.model.layers[0]
    layer.mlp.register_forward_pre_hook(lambda _, args: (layer.self_attn.probe,))
    layer.input_layernorm.register_forward_hook(lambda _, args, y: setattr(layer.self_attn, "probe", y))
    found = refused(module).unmatched
    assert [(u.op, u.module) for u in found] == [("torch.aten.linear", "model.layers.0.mlp.gate_proj")]
    assert "an input that is the RMSNorm of the residual stream" in found[0].expected


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
