"""`lutllm models`: names, what they cost, the cache; and what is said of a name that is not known."""

import json

import pytest

from lutllm.models.catalog import BUILTIN_NAMES
from lutllm.tools.lutllm import main


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LUTLLM_CACHE", str(tmp_path))
    (tmp_path / "quantized" / "tiny-exact").mkdir(parents=True)
    (tmp_path / "quantized" / "tiny-exact" / "a.bin").write_bytes(bytes(1_500_000))
    (tmp_path / "gguf-1").mkdir()
    (tmp_path / ".building-x").mkdir()
    return tmp_path


def test_names_and_cache(cache, tmp_path, capsys):
    path = tmp_path / "models.json"
    assert main(["models", "--json", str(path)]) == 0
    printed, report = capsys.readouterr().out, json.loads(path.read_text())
    assert tuple(one["name"] for one in report["models"]) == BUILTIN_NAMES
    assert all(name in printed for name in BUILTIN_NAMES) and "98 MB" in printed and "Apache-2.0" in printed
    assert {one["name"]: one["bytes"] for one in report["entries"]} == {"gguf-1": 0, "quantized/tiny-exact": 1_500_000}


def test_entries_are_removed_all_or_none(cache, capsys):
    assert main(["models", "rm", "gguf-1", "quantized/tiny-exakt"]) == 1
    assert "did you mean quantized/tiny-exact?" in capsys.readouterr().err and (cache / "gguf-1").is_dir()
    for wrong in ("..", "quantized", ".building-x", str(cache)):
        assert main(["models", "rm", wrong]) == 1 and cache.is_dir()
    assert main(["models", "rm", "gguf-1", "quantized/tiny-exact"]) == 0
    assert "removed 2 entries, 1.5 MB" in capsys.readouterr().out
    assert not (cache / "gguf-1").exists() and not (cache / "quantized" / "tiny-exact").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "smolm2-135m"], "models are not downloaded by name; did you mean smollm2-135m?"),
        (["check", "Qwen/Qwen3-0.6B"], "hf download Qwen/Qwen3-0.6B --local-dir Qwen3-0.6B, then give Qwen3-0.6B"),
        (["run", "tiny-lama", "x"], "did you mean tiny-llama?"),
        (["estimate", "tiny-llama", "--target", "v8O"], "got 'v8O'; did you mean v80?"),
    ],
)
def test_what_may_have_been_meant(arguments, message, cache, capsys):
    pytest.importorskip("torch", reason="models need torch: pip install 'lutllm[models]'")
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_verb_that_is_not_known(capsys):
    with pytest.raises(SystemExit):
        main(["compil", "x"])
    assert "did you mean compile?" in capsys.readouterr().err


def test_completions_know_the_verbs(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", "bash"])
    assert ended.value.code == 0 and "--prefill" in capsys.readouterr().out
