"""`lutllm.models.load`: built-in random models and checkpoint directories."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

from lutllm import models  # noqa: E402
from lutllm.errors import InputError, MissingDependencyError  # noqa: E402
from lutllm.models.hf import require  # noqa: E402


def save(loaded: models.LoadedModel, directory: Path, dtype: torch.dtype = torch.float32) -> Path:
    """A model directory as Hugging Face lays it out."""
    directory.mkdir()
    tensors = {name: p.detach().to(dtype).contiguous() for name, p in loaded.module.named_parameters()}
    safetensors_torch.save_file(tensors, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps(loaded.config.to_dict()))
    loaded.tokenizer.save_pretrained(directory)
    return directory


def logits(module: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return module(torch.arange(12)[None]).logits


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-qwen3"])
def test_random_model_is_a_function_of_the_seed(name):
    one, same, other = models.load(name, 3), models.load(name, 3), models.load(name, 4)
    assert torch.equal(logits(one.module), logits(same.module))
    assert not torch.equal(logits(one.module), logits(other.module))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert not any(p.requires_grad for p in one.module.parameters())
    assert not one.module.training


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-qwen3"])
def test_fewer_layers_are_the_same_layers(name):
    whole, first = models.load(name), models.load(name, layers=1)
    assert len(first.module.model.layers) == 1
    for key, value in first.module.model.layers[0].state_dict().items():
        assert torch.equal(value, whole.module.model.layers[0].state_dict()[key])
    assert first.fingerprint != whole.fingerprint


def test_large_random_model_is_bfloat16_and_can_be_left_unfilled():
    loaded = models.load("qwen3-1.7b", layers=1, fill=False)
    assert {p.dtype for p in loaded.module.parameters()} == {torch.bfloat16}
    assert tuple(loaded.module.model.layers[0].mlp.gate_proj.weight.shape) == (6144, 2048)
    assert loaded.module.lm_head.weight is loaded.module.model.embed_tokens.weight


def test_byte_tokenizer_reads_any_text():
    tokenizer = models.load("tiny-llama").tokenizer
    text = "héllo \x00 wörld\n\t€ 漢"
    ids = tokenizer(text)["input_ids"]
    assert ids == list(text.encode())
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-qwen3"])
def test_directory_gives_the_model_back(name, tmp_path):
    original = models.load(name)
    loaded = models.load(save(original, tmp_path / "model"))
    assert torch.equal(logits(loaded.module), logits(original.module))
    assert loaded.name == "model"
    assert loaded.files == [tmp_path / "model" / "model.safetensors"]
    assert loaded.tokenizer("abc")["input_ids"] == [97, 98, 99]
    assert loaded.module.lm_head.weight is loaded.module.model.embed_tokens.weight
    assert len(models.load(tmp_path / "model", layers=1).module.model.layers) == 1


def test_small_bfloat16_directory_is_computed_in_float32(tmp_path):
    loaded = models.load(save(models.load("tiny-llama"), tmp_path / "model", torch.bfloat16))
    assert loaded.module.dtype == torch.float32


def test_sharded_directory(tmp_path):
    original = models.load("tiny-llama")
    directory = save(original, tmp_path / "model")
    tensors = safetensors_torch.load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    weight_map = {}
    for index, name in enumerate(sorted(tensors)):
        weight_map[name] = f"part-{index % 2}.safetensors"
    for shard in set(weight_map.values()):
        part = {name: tensors[name] for name in tensors if weight_map[name] == shard}
        safetensors_torch.save_file(part, directory / shard)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert torch.equal(logits(models.load(directory).module), logits(original.module))
    (directory / "part-1.safetensors").unlink()
    with pytest.raises(InputError, match=r"expected the file part-1\.safetensors beside it, found none; download it"):
        models.load(directory)


def test_fingerprint_follows_the_weights(tmp_path):
    directory = save(models.load("tiny-llama"), tmp_path / "model")
    before = models.load(directory).fingerprint
    save(models.load("tiny-llama", 1), tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").replace(directory / "model.safetensors")
    assert models.load(directory).fingerprint != before


def test_directory_without_tokenizer(tmp_path):
    directory = save(models.load("tiny-llama"), tmp_path / "model")
    for file in directory.glob("tokenizer*"):
        file.unlink()
    assert models.load(directory).tokenizer is None


def test_import_is_cheap():
    script = "import sys, lutllm.models, lutllm.models.text; print({'torch', 'transformers'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_loading_prints_nothing(tmp_path):
    save(models.load("tiny-llama"), tmp_path / "model")
    script = f"from lutllm import models; models.load({str(tmp_path / 'model')!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_missing_package_says_how_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"run `pip install lutllm\[models\]`"):
        require("transformers")
