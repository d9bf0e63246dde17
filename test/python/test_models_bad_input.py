"""Models that cannot be used: one error each, saying what was expected, what came and what to do."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

from lutllm import models  # noqa: E402
from lutllm.errors import InputError  # noqa: E402
from lutllm.models.text import windows  # noqa: E402
from lutllm.models.tokenizer import byte_tokenizer  # noqa: E402


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A sound model directory to damage."""
    loaded = models.load("tiny-llama")
    path = tmp_path / "model"
    path.mkdir()
    safetensors_torch.save_file(dict(loaded.module.named_parameters()), path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(loaded.config.to_dict()))
    return path


def change_config(directory: Path, **values: object) -> None:
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, **values}))


def change_tensors(directory: Path, **values: object) -> None:
    tensors = safetensors_torch.load_file(directory / "model.safetensors")
    tensors |= {name.replace("__", "."): value for name, value in values.items()}
    kept = {name: value for name, value in tensors.items() if value is not None}
    safetensors_torch.save_file(kept, directory / "model.safetensors")


def refused(spec: object, *words: str, **options: object) -> None:
    with pytest.raises(InputError) as caught:
        models.load(spec, **options)
    for word in words:
        assert word in caught.value.message, caught.value.message


def test_sound_directory_loads(directory):
    assert models.load(directory).name == "model"


def test_unknown_name():
    refused("gpt-5", "expected a model directory, a GGUF file or one of smollm2-135m, gemma3-270m", "not downloaded")


@pytest.mark.parametrize("name", ["model.bin", "model.pt", "model.pth", "model.pkl"])
def test_pickle_file_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04.")
    refused(tmp_path / name, "expected safetensors or GGUF, got a pickle file", "convert it to safetensors")


def test_directory_with_pickle_only_is_refused(directory):
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    refused(directory, "pytorch_model.bin: expected safetensors or GGUF, got a pickle file")


def test_pickle_beside_safetensors_is_never_opened(directory):
    (directory / "pytorch_model.bin").write_bytes(b"not even a pickle")
    assert models.load(directory).name == "model"


def test_safetensors_file_instead_of_directory(directory):
    refused(directory / "model.safetensors", "expected a directory with config.json, got one file; give")


def test_directory_without_weights(directory):
    (directory / "model.safetensors").unlink()
    refused(
        directory, "expected model.safetensors or model.safetensors.index.json with its shards, found none; download"
    )


def sharded(directory: Path, **others: str) -> dict[str, str]:
    """Two files and their index, but for `others` which it gives to another file; the map."""
    tensors = safetensors_torch.load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    names = sorted(tensors)
    files = {"a.safetensors": names[:9], "b.safetensors": names[9:]}
    for file, own in files.items():
        safetensors_torch.save_file({name: tensors[name] for name in own}, directory / file)
    weight_map = {name: file for file, own in files.items() for name in own} | others
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return weight_map


def test_a_tensor_in_another_shard_than_the_index_says(directory):
    sharded(directory, **{"model.norm.weight": "a.safetensors"})
    refused(directory, "a.safetensors: expected tensor 'model.norm.weight', as the index says, got no tensor")


def test_a_tensor_that_the_index_does_not_know(directory):
    sharded(directory)
    tensors = safetensors_torch.load_file(directory / "b.safetensors")
    first = next(iter(safetensors_torch.load_file(directory / "a.safetensors").items()))
    safetensors_torch.save_file({**tensors, first[0]: torch.zeros_like(first[1])}, directory / "b.safetensors")
    refused(directory, f"b.safetensors: expected no tensor '{first[0]}', as the index says, got tensor")


def test_an_index_that_leaves_its_directory(directory):
    sharded(directory, **{"model.norm.weight": "../b.safetensors"})
    refused(directory, "index.json: expected the file ../b.safetensors beside it, found none")


def test_a_stray_file_is_not_read(directory):
    """As transformers does: `model.safetensors` is the model, whatever lies beside it."""
    before = models.load(directory).module.state_dict()
    tensors = safetensors_torch.load_file(directory / "model.safetensors")
    safetensors_torch.save_file({name: t * 0 for name, t in tensors.items()}, directory / "z.safetensors")
    loaded = models.load(directory)
    assert loaded.origin["files"] == ["model.safetensors"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in loaded.module.state_dict().items())


def test_weights_under_another_name(directory):
    (directory / "model.safetensors").rename(directory / "weights.safetensors")
    refused(directory, "with its shards, found weights.safetensors; rename the file with the weights")


def test_an_adapter_beside_the_weights(directory):
    (directory / "adapter_config.json").write_text("{}")
    refused(directory, "adapter_config.json: expected a model, got an adapter")


def test_a_tied_head_with_a_weight_of_its_own(directory):
    embedding = safetensors_torch.load_file(directory / "model.safetensors")["model.embed_tokens.weight"]
    change_tensors(directory, lm_head__weight=embedding.clone())
    models.load(directory)
    change_tensors(directory, lm_head__weight=embedding + 1)
    refused(
        directory, "expected one weight for 'model.embed_tokens.weight' and 'lm_head.weight', which config.json ties"
    )
    change_config(directory, tie_word_embeddings=False)
    assert torch.equal(models.load(directory).module.lm_head.weight, embedding + 1)


def test_a_tied_weight_under_the_name_of_the_head(directory):
    before = models.load(directory).module.lm_head.weight
    change_tensors(directory, lm_head__weight=before.clone(), model__embed_tokens__weight=None)
    assert torch.equal(models.load(directory).module.model.embed_tokens.weight, before)


def test_more_layers_than_the_configuration_says(directory):
    change_config(directory, num_hidden_layers=1)
    refused(directory, "got the unknown tensor 'model.layers.1.input_layernorm.weight'")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_safetensors(directory, keep):
    file = directory / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    refused(directory, "expected a whole safetensors file, got", "download or write it again")


def test_corrupt_safetensors_header(directory):
    file = directory / "model.safetensors"
    file.write_bytes(b"\xff" * 64 + file.read_bytes()[64:])
    refused(directory, "expected a whole safetensors file")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(directory, value):
    weight = models.load(directory).module.model.layers[1].mlp.up_proj.weight.clone()
    weight[5, 7] = value
    change_tensors(directory, model__layers__1__mlp__up_proj__weight=weight)
    refused(directory, f"got {value} in 'model.layers.1.mlp.up_proj.weight' at [5, 7]")


def test_missing_tensor(directory):
    change_tensors(directory, model__norm__weight=None)
    refused(directory, "1 are missing, the first is 'model.norm.weight'")


def test_unknown_tensor(directory):
    change_tensors(directory, model__layers__0__self_attn__q_proj__bias=torch.zeros(48))
    refused(directory, "got the unknown tensor 'model.layers.0.self_attn.q_proj.bias'")


def test_wrong_shape(directory):
    change_tensors(directory, model__norm__weight=torch.ones(47))
    refused(directory, "expected 'model.norm.weight' of shape [48], got [47]")


def test_integer_weights(directory):
    change_tensors(directory, model__norm__weight=torch.ones(48, dtype=torch.int8))
    refused(directory, "expected 'model.norm.weight' in F32, F16, BF16, F64, got I8")


def test_missing_config(directory):
    (directory / "config.json").unlink()
    refused(directory, "config.json: expected this file, found none")


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_corrupt_config(directory, text):
    (directory / "config.json").write_text(text)
    refused(directory, "config.json: expected a", "download it again")


@pytest.mark.parametrize("kind", ["clip", None, "no-such", ["llama"]])
def test_unsupported_architecture(directory, kind):
    change_config(directory, model_type=kind)
    refused(directory, f"expected the model_type of a decoder that transformers knows, got {kind!r}")


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_frequencies_that_change_with_the_length(directory, kind):
    rope = {"rope_type": kind, "rope_theta": 1e4, "factor": 2.0, "original_max_position_embeddings": 128}
    change_config(directory, rope_parameters={**rope, "short_factor": [1.0] * 6, "long_factor": [2.0] * 6})
    refused(directory, "config.json: expected frequencies of RoPE that do not change with", f"got rope_type '{kind}'")


def test_quantized_checkpoint(directory):
    change_config(directory, quantization_config={"quant_method": "gptq"})
    refused(directory, "expected float weights, got a quantization_config")


@pytest.mark.parametrize(
    "values",
    [
        {"hidden_size": "wide"},
        {"num_attention_heads": 0},
        {"num_key_value_heads": 3},
        {"hidden_act": "no-such-activation"},
        {"vocab_size": -1},
        {"max_position_embeddings": 0},
        {"num_hidden_layers": 0},
        {"intermediate_size": 2.5},
    ],
)
def test_unusable_configuration(directory, values):
    change_config(directory, **values)
    refused(directory, "config.json: expected a", "got", "fix config.json")


def test_configuration_of_another_size(directory):
    change_config(directory, intermediate_size=96)
    refused(directory, "of shape [48, 96], got [48, 80]", "check config.json")


def test_a_tokenizer_of_another_model(directory):
    """Its ids beyond the embedding are refused where a text has them."""
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<new>", *(f"<{i}>" for i in range(80))])
    tokenizer.save_pretrained(directory)
    loaded = models.load(directory)
    assert windows(loaded.tokenizer, "plain text", 4, 2).shape == (2, 4)
    with pytest.raises(InputError, match=r"expected token ids below 320, .*got 337 \('<79>'\); the tokenizer is of"):
        windows(loaded.tokenizer, "plain <79> text", 4, 2)


def test_corrupt_tokenizer(directory):
    (directory / "tokenizer.json").write_text("{}")
    refused(directory, "expected a tokenizer that transformers can read")


@pytest.mark.parametrize(
    ("layers", "message"), [(0, "expected at least 1"), (3, "expected decoder layers in 0..1, got layer 2")]
)
def test_wrong_number_of_layers(directory, layers, message):
    refused(directory, message, layers=layers)
    refused("tiny-llama", message, layers=layers)
