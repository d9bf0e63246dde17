"""Decoders beyond the built-in ones, tiny and random: in floats equal to transformers, op by op; then in integers."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from lutllm import interpreter  # noqa: E402
from lutllm.accelerator.hardware import Hardware, build  # noqa: E402
from lutllm.errors import IRError  # noqa: E402
from lutllm.importer.agreement import import_float  # noqa: E402
from lutllm.importer.convertible import check_module  # noqa: E402
from lutllm.importer.torch_run import Parameters  # noqa: E402
from lutllm.lowering.raising.missing import NO_PATTERN, NO_TORCH_OP  # noqa: E402
from lutllm.lowering.raising.reader import DOWNSTREAM  # noqa: E402
from lutllm.models import LoadedModel  # noqa: E402
from lutllm.models.hf import empty_module, make_config  # noqa: E402
from lutllm.models.text import default_text, token_ids  # noqa: E402
from lutllm.models.tokenizer import byte_tokenizer  # noqa: E402
from lutllm.models.wrappers import whole_model  # noqa: E402
from lutllm.quantizer.random.model import random_model  # noqa: E402
from lutllm.quantizer.recipe import load_recipe  # noqa: E402
from lutllm.quantizer.whole import quantize_model  # noqa: E402
from lutllm.run.session import CpuSession, GoldenSession  # noqa: E402
from lutllm.scheme import EXACT  # noqa: E402

SIZES: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
GPT2 = {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_inner": 48, "n_positions": 64}
FALCON = {"alibi": False, "ffn_hidden_size": 48}
CONVERTED: dict[str, dict[str, Any]] = {
    "llama, linear": {"model_type": "llama", "rope_parameters": {"rope_type": "linear", "factor": 2.0}},
    "llama, llama3": {"model_type": "llama", "rope_parameters": {"rope_type": "llama3", "factor": 8.0, **LLAMA3}},
    "llama, yarn": {
        "model_type": "llama",
        "rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
    },
    "llama, biases": {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
    "qwen2": {"model_type": "qwen2"},
    "mistral without a window": {"model_type": "mistral", "sliding_window": None},
    "smollm3, a layer without RoPE": {"model_type": "smollm3", "no_rope_layer_interval": 2},
    "olmo2, norms after": {"model_type": "olmo2"},
    "mistral with a window": {"model_type": "mistral", "sliding_window": 4},
    "granite, four multipliers": {
        "model_type": "granite",
        "embedding_multiplier": 12.0,
        "attention_multiplier": 0.2,
        "residual_multiplier": 0.22,
        "logits_scaling": 8.0,
    },
    "phi3, fused linears": {"model_type": "phi3"},
    "phi3, half of each head rotated": {"model_type": "phi3", "partial_rotary_factor": 0.5},
    "glm, neighbours rotated": {"model_type": "glm"},
    "helium": {"model_type": "helium"},
    "stablelm, LayerNorm": {"model_type": "stablelm", "use_qkv_bias": True},
    "starcoder2, plain MLP": {"model_type": "starcoder2", "sliding_window": 4},
    "gpt_neox, parallel residual": {"model_type": "gpt_neox"},
    "phi, one norm of both, biases": {"model_type": "phi"},
    "cohere, one norm of both": {"model_type": "cohere"},
    "cohere2": {"model_type": "cohere2", "sliding_window": 4, "sliding_window_pattern": 2},
    "gemma2, soft-caps": {
        "model_type": "gemma2",
        "sliding_window": 4,
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0,
    },
    "gpt2, learned positions, Conv1D": {"model_type": "gpt2", **GPT2},
    "opt": {"model_type": "opt", "ffn_dim": 48, "word_embed_proj_dim": 32},
    "opt, norms after, other widths": {
        "model_type": "opt",
        "ffn_dim": 48,
        "word_embed_proj_dim": 16,
        "do_layer_norm_before": False,
        "activation_function": "gelu",
    },
    "falcon, one head of keys": {"model_type": "falcon", **FALCON},
    "falcon, groups in one linear": {
        "model_type": "falcon",
        **FALCON,
        "new_decoder_architecture": True,
        "num_kv_heads": 2,
    },
    "falcon, biases": {"model_type": "falcon", **FALCON, "parallel_attn": False, "bias": True},
    "gemma": {"model_type": "gemma"},
    "gemma, exact GELU": {"model_type": "gemma", "hidden_act": "gelu"},
    "gemma3, windows of some layers": {
        "model_type": "gemma3_text",
        "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention"],
    },
}
# Of engines' modes, what others have together.
LIKE_OTHERS: dict[str, dict[str, Any]] = {
    "olmo3": {"model_type": "olmo3", "sliding_window": 4},
    "exaone4": {"model_type": "exaone4", "sliding_window": 4},
    "ernie4_5": {"model_type": "ernie4_5"},
    "seed_oss": {"model_type": "seed_oss"},
    "glm4": {"model_type": "glm4"},
    "vaultgemma": {"model_type": "vaultgemma", "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
}
# What keeps others from being converted: an op of theirs that is named, and a part of what it would take.
NOT_YET = {
    "mixtral": ({"model_type": "mixtral", "num_local_experts": 4}, "aten.topk", "picks experts"),
    "mamba": ({"model_type": "mamba", "state_size": 4}, "aten.convolution", "keeps a state beside the KV cache"),
    "mamba2": (
        {"model_type": "mamba2", "state_size": 8, "head_dim": 8, "num_heads": 8, "n_groups": 1},
        "aten.cumsum",
        "keeps a state beside the KV cache",
    ),
}


def made(values: dict[str, Any]) -> Any:
    values = {**SIZES, **values}
    if values["model_type"] == "falcon":
        del values["head_dim"]  # which its configuration computes
    if "rope_parameters" in values:
        values["rope_parameters"] = {"rope_theta": 1e4, **values["rope_parameters"]}
    module = empty_module(make_config(values, "test"), "test")
    torch.manual_seed(0)
    for name, parameter in module.named_parameters():
        one = 1.0 if ("norm" in name or ".ln_" in name) and name.endswith("weight") else 0.0
        parameter.normal_(one, 0.1 if parameter.dim() == 1 else 1.2 * parameter.shape[-1] ** -0.5)
    module.tie_weights()
    return module


@pytest.mark.parametrize("name", [*CONVERTED, *LIKE_OTHERS])
def test_the_float_level_computes_what_transformers_does(name):
    """Beside the model as anyone calls it: no explicit positions, no mask."""
    module = made((CONVERTED | LIKE_OTHERS)[name])
    ids = np.random.default_rng(1).integers(0, 320, 40)
    with torch.no_grad():
        wanted = module(token_ids(ids)).logits[0].numpy()
    raised = import_float(*whole_model(module))
    first = np.zeros(1, np.int32)
    arguments = [ids.astype(np.int32), first]
    (got,) = interpreter.run(raised.module, arguments, Parameters(raised.parameters))
    assert np.abs(got - wanted).max() < 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("name", "hardware"),
    [
        ("qwen2", ""),
        ("smollm3, a layer without RoPE", ""),
        ("olmo2, norms after", ""),
        ("mistral with a window", ""),
        ("granite, four multipliers", ""),
        ("phi3, half of each head rotated", ""),
        ("glm, neighbours rotated", ""),
        ("helium", ""),
        ("stablelm, LayerNorm", ""),
        ("starcoder2, plain MLP", ""),
        ("gpt_neox, parallel residual", ""),
        ("phi, one norm of both, biases", ""),
        ("cohere, one norm of both", ""),
        ("gemma2, soft-caps", ""),
        ("gpt2, learned positions, Conv1D", ""),
        ("opt", ""),
        ("opt, norms after, other widths", "operand 0 in memory y, which its engine reads, got it in memory r"),
        ("falcon, one head of keys", ""),
        ("falcon, groups in one linear", ""),
        ("falcon, biases", ""),
        ("gemma", ""),
        ("gemma, exact GELU", ""),
        ("gemma3, windows of some layers", ""),
    ],
)
def test_integers(name, hardware, tmp_path):
    """Quantized, the CPU gives the interpreter's integers, near the float model's logits; and hardware its tokens,
    where engines compute every op; else one error names the first that none does."""
    module = made(CONVERTED[name])
    model = LoadedModel(name, module, byte_tokenizer(), module.config, "x" * 64)
    recipe = load_recipe([{"targets": "*", "scheme": "exact", "stages": 3}])
    options = {"text": default_text(), "tokens": 256, "window": 64, "distillation": 0, "progress": False}
    found = quantize_model(model, tmp_path, recipe, **options).model
    ids = np.frombuffer(b"The import system", np.uint8).astype(np.int64)
    golden, cpu = (session.of(found, 32).forward(ids, all_logits=True) for session in (GoldenSession, CpuSession))
    assert np.array_equal(golden, cpu)
    parts = CpuSession.of(found, 32)
    first = parts.forward(ids[:7], all_logits=True)
    assert np.array_equal(np.concatenate([first, parts.forward(ids[7:], all_logits=True)]), golden)
    wanted = module(token_ids(ids)).logits[0].detach().numpy()
    exponent = GoldenSession.of(found, 32).logit_exponent
    assert np.linalg.norm(golden * 2.0**exponent - wanted) < 0.2 * np.linalg.norm(wanted)
    if hardware:
        with pytest.raises(IRError, match=hardware):
            Hardware.of(found.lut(16), found.tensors, target="tiny")
        return
    accelerator = Hardware.of(found.lut(16), found.tensors, target="tiny")
    answer = accelerator.answer(build(accelerator.plan.config, "arc"), list(b"abc"), 2)
    assert answer.equal and len(answer.tokens) == 2


@pytest.mark.parametrize("name", LIKE_OTHERS)
def test_hardware_of_random_integers(name):
    model = random_model(import_float(*whole_model(made(LIKE_OTHERS[name]))).module, EXACT.with_(R=1))
    accelerator = Hardware.of(model.lut(32), model.tensors, target="tiny")
    answer = accelerator.answer(build(accelerator.plan.config, "arc"), list(b"The import"), 3)
    assert answer.equal and len(answer.tokens) == 3


@pytest.mark.parametrize("kind", ["llama", "starcoder2"])
def test_linears_of_an_odd_number_of_inputs_are_padded(kind, tmp_path):
    """Of the MLP, with a gate and without: in floats the same model, in integers taken by everything."""
    module = made({"model_type": kind, "intermediate_size": 47, "num_hidden_layers": 1})
    ids = token_ids(np.frombuffer(b"The import system", np.uint8).astype(np.int64))
    wanted = module(ids).logits[0].detach().numpy()
    model = LoadedModel(kind, module, byte_tokenizer(), module.config, "x" * 64)
    recipe = load_recipe([{"targets": "*", "scheme": "exact", "stages": 3}])
    options = {"text": default_text(), "tokens": 256, "window": 64, "distillation": 0, "progress": False}
    found = quantize_model(model, tmp_path, recipe, **options).model
    assert {48} == {linear.outputs for name, linear in found.linears.items() if name.endswith(("up_proj", "c_fc"))}
    assert np.abs(module(ids).logits[0].detach().numpy() - wanted).max() < 1e-5 * np.abs(wanted).max()
    accelerator = Hardware.of(found.lut(16), found.tensors, target="tiny")
    assert accelerator.answer(build(accelerator.plan.config, "arc"), list(b"abc"), 2).equal


def test_other_odd_widths_are_refused():
    module = made({"model_type": "llama", "hidden_size": 33, "num_attention_heads": 3, "num_key_value_heads": 1})
    report = check_module(*whole_model(module))
    assert any("expected an even number of inputs (pairs), got 33" in group.reason for group in report.not_raised)


@pytest.mark.parametrize("name", NOT_YET)
def test_what_is_not_converted_is_listed_op_by_op(name):
    values, op, takes = NOT_YET[name]
    report = check_module(*whole_model(made(values)), name=name)
    assert not report.convertible and report.all_linears_convert
    groups = {group.op: group.reason for group in report.not_raised if group.reason != DOWNSTREAM}
    assert "it would take" in groups[op] and takes in groups[op]
    assert not {NO_TORCH_OP, NO_PATTERN} & set(groups.values())
    assert all(place.location for group in report.not_raised for place in group.places)
