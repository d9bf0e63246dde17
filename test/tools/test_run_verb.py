"""`lutllm run` and `lutllm bench MODEL` on tiny decoders with random integers."""

import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from lutllm.errors import InputError
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import EXACT
from lutllm.tools.lutllm import main

pytest.importorskip("transformers", reason="tokenizers need transformers: pip install 'lutllm[models]'")

POSITIONS = 48


def tiny_model():
    from lutllm.models.tokenizer import byte_tokenizer

    shape = float_decoder(hidden=16, intermediate=24, layers=1, heads=2, kv_heads=1, head_dim=8)
    model = random_model(shape, EXACT, seed=3, positions=POSITIONS)
    about = {"model": {"name": "tiny"}}
    return replace(model, tokenizer=byte_tokenizer(), config={"model_type": "llama"}, about=about)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    from lutllm.quantized.pretrained import save_pretrained

    return save_pretrained(tiny_model(), tmp_path_factory.mktemp("tiny") / "q")


def answer(capsys, tmp_path, *arguments):
    """What a run printed and its report."""
    path = tmp_path / "run.json"
    assert main(["run", *map(str, arguments), "--json", str(path), "--debug"]) == 0
    printed, report = capsys.readouterr(), json.loads(path.read_text())
    assert printed.out == report["text"] + "\n"
    return report, printed.err


@pytest.mark.parametrize("how", [[], ["--temperature", "0.9", "--top-k", "50", "--top-p", "0.9", "--seed", "7"]])
def test_backends_give_the_same_tokens(directory, how, capsys, tmp_path):
    common = [directory, "Who are you?", "--tokens", 12, *how]
    cpu, said = answer(capsys, tmp_path, *common, "--threads", 1)
    golden, _ = answer(capsys, tmp_path, *common, "--backend", "golden")
    assert cpu["token_ids"] == golden["token_ids"] and len(cpu["token_ids"]) == 12
    assert cpu["prompt_ids"] == list(b"Who are you?") and cpu["stop"] == "length"
    assert (cpu["backend"], cpu["threads"]) == ("cpu", 1) and (golden["backend"], golden["threads"]) == ("golden", None)
    assert cpu["decode_tokens_per_second"] > 0 and cpu["bits"]["effective"] > 4
    assert said.startswith("prompt 12 tokens, ") and "made 12 tokens, " in said and "bits per weight" in said


def test_greedy_is_the_programs_own_token(directory, capsys, tmp_path):
    from lutllm import interpreter
    from lutllm.quantized.pretrained import from_pretrained

    report, _ = answer(capsys, tmp_path, directory, "abc", "--tokens", 1, "--backend", "golden")
    model = from_pretrained(directory)
    caches = [np.zeros((8, 8), np.int8) for _ in range(2)]
    inputs = [np.array(list(b"abc"), np.int32), np.zeros(1, np.int32), *caches]
    token, *_ = interpreter.run(model.lut(8), inputs, model.tensors, function="prefill")
    assert report["token_ids"] == token.tolist()


def test_a_seed_changes_what_is_sampled(directory, capsys, tmp_path):
    common = [directory, "abc", "--tokens", 8, "--backend", "golden", "--temperature", 2.0]
    runs = [answer(capsys, tmp_path, *common, "--seed", seed)[0]["token_ids"] for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_the_prompt_may_come_from_standard_input(directory, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("größe"))
    report, said = answer(capsys, tmp_path, directory, "-", "--tokens", 2, "--backend", "golden", "--quiet")
    assert report["prompt_ids"] == list("größe".encode()) and said == ""


@pytest.mark.parametrize("prompt", ["a\udcff", "-"])
def test_a_prompt_is_utf8(directory, prompt, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\xff"), encoding="utf-8"))
    assert main(["run", str(directory), prompt]) == 1
    assert capsys.readouterr().err == "lutllm: error: expected a prompt in UTF-8, got other bytes; convert it\n"


def test_a_full_context_is_told(directory, capsys, tmp_path):
    report, said = answer(capsys, tmp_path, directory, "abc", "--context", 5, "--backend", "golden")
    assert report["stop"] == "context" and len(report["token_ids"]) == 3
    assert "the context of 5 tokens is full" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "expected a prompt, got an empty one"),
        (["abc", "--backend", "gpu"], "expected a backend among cpu, golden, rtl, board, got 'gpu'"),
        (["abcdef", "--context", "4"], "expected a prompt of at most 4 tokens, the context, got 6"),
        (["abc", "--context", "99"], "expected a context of 1..48 tokens"),
        (["abc", "--temperature", "-1"], "expected a temperature of 0"),
        (["abc", "--top-p", "2"], "expected top-p above 0"),
        (["abc", "--top-k", "5"], "expected a temperature above 0 with top-k, top-p or min-p, got 0"),
        (["abc", "--threads", "1"], "--threads is of backend cpu: expected none, got one with golden"),
        (["abc", "--target", "tiny"], "--target is of backend rtl: expected none, got one with golden"),
        (["abc", "--scheme", "paper"], "expected no scheme for a model that is quantized, got one"),
        (["abc", "--text", "x"], "expected no text for a model that is quantized, got one"),
        (["abc", "--temperature", "1", "--backend", "rtl"], "expected no sampling and no --stop with backend rtl"),
    ],
)
def test_errors_are_one_line(directory, arguments, message, capsys):
    assert (
        main(["run", str(directory), *arguments, *([] if "--backend" in arguments else ["--backend", "golden"])]) == 1
    )
    error = capsys.readouterr().err
    assert message in error and error.startswith("lutllm: error: ") and error.count("\n") == 1


def test_what_is_no_model_is_told(capsys, tmp_path):
    assert main(["run", str(tmp_path / "none"), "hi"]) == 1
    assert "expected a directory made by lutllm quantize, a model directory" in capsys.readouterr().err


def test_a_float_model_is_quantized_once(tmp_path, monkeypatch, capsys):
    from types import SimpleNamespace

    from lutllm.quantized.pretrained import save_pretrained
    from lutllm.quantized.resolve import quantized_model
    from lutllm.quantizer import whole

    calls = []

    def quantize(model, directory, recipe, **options):
        calls.append((model.name, options["tokens"], recipe.rules[0].scheme.R))
        save_pretrained(tiny_model(), directory)
        return SimpleNamespace(model=tiny_model(), seconds=1.0)

    monkeypatch.setenv("LUTLLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(whole, "quantize_model", quantize)
    text = tmp_path / "text"
    text.write_text("some words " * 100)
    for scheme in (EXACT, EXACT, EXACT.with_(R=1)):
        assert quantized_model("tiny-llama", scheme=scheme, text=text, tokens=512).linears
    assert calls == [("tiny-llama", 512, 2), ("tiny-llama", 512, 1)]
    said = capsys.readouterr().err
    assert said.count("quantizing it first (exact, R=2, calibrated on text)") == 1
    assert said.count("tiny-llama: quantized earlier, in ") == 1


def test_an_unfinished_directory_is_told(tmp_path):
    from lutllm.quantized.resolve import quantized_model

    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match="not finished: run the same lutllm quantize again"):
        quantized_model(tmp_path)


def test_bench_of_a_directory(directory, capsys, tmp_path):
    report = tmp_path / "bench.json"
    arguments = ["-p", "8", "-n", "3", "-r", "2", "--threads", "1,2", "--json", str(report)]
    assert main(["bench", str(directory), *arguments]) == 0
    found = json.loads(report.read_text())
    rows = [(row["test"], row["threads"], len(row["samples"])) for row in found["rows"]]
    assert rows == [("pp8", 1, 2), ("tg3", 1, 2), ("pp8", 2, 2), ("tg3", 2, 2)]
    assert all(min(row["samples"]) <= row["mean"] <= max(row["samples"]) for row in found["rows"])
    assert found["bytes"] > 0 and found["bits"]["effective"] > 4 and set(found["seconds"]["2"]) >= {"compile", "pack"}
    text = capsys.readouterr().out
    assert "token/s" in text and "+-" in text and "2 threads: machine code made in" in text


def test_bench_of_random_integers(capsys):
    assert (
        main(["bench", "--random", "tiny", "--scheme", "exact:1", "-p", "0", "-n", "2", "-r", "1", "--threads", "1"])
        == 0
    )
    text = capsys.readouterr().out
    assert "random tiny" in text and "tg2" in text and "pp" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--random", "huge"], "expected a shape among tiny, smollm2-135m, qwen3-1.7b, got 'huge'"),
        (["--random", "tiny", "somewhere"], "expected a MODEL or --random SHAPE, got both"),
        (["--random", "tiny", "--blocks", "4"], "--blocks is of the hardware engine"),
        (["--threads", "2"], "--threads needs a MODEL or --random SHAPE"),
        (["--random", "tiny", "-p", "0", "-n", "0"], "expected a prompt or tokens to time"),
        (["--random", "tiny", "--scheme", "best"], "expected schemes among paper, additive, exact"),
    ],
)
def test_bench_errors(arguments, message, capsys):
    assert main(["bench", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_the_accelerator_gives_the_same_tokens(directory, capsys, tmp_path):
    how = ["ab", "--tokens", "3", "--raw", "--context", "32"]
    golden, _ = answer(capsys, tmp_path, directory, *how)
    report, told = answer(capsys, tmp_path, directory, *how, "--backend", "rtl", "--target", "tiny")
    assert report["token_ids"] == report["golden_ids"] == golden["token_ids"]
    assert report["text"] == golden["text"] and report["equal"]
    assert report["cycles_per_token"] > 0 and report["simulated_cycles_per_second"] > 0
    assert "3 tokens, all equal to the golden model's" in told


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (["--temperature", "1"], "expected no sampling and no --stop with backend rtl"),
        (["--context", "1"], "expected a prompt of 1..1 tokens, the context, got 2"),
        (["--target", "huge"], "expected a target among"),
    ],
)
def test_what_the_accelerator_cannot_do(directory, how, message, capsys):
    assert main(["run", str(directory), "ab", "--raw", "--backend", "rtl", *how]) == 1
    assert message in capsys.readouterr().err


def test_a_quantized_model_is_opened_without_torch(directory):
    """And its tokenizer is the one that transformers chooses by itself."""
    code = (
        "import sys; from lutllm.quantized.pretrained import from_pretrained; "
        f"model = from_pretrained({str(directory)!r}); assert 'torch' not in sys.modules; "
        "from transformers import AutoTokenizer; text = 'Hello 1234 größe'; "
        f"other = AutoTokenizer.from_pretrained({str(directory)!r}); assert type(other) is type(model.tokenizer); "
        "assert other(text) == model.tokenizer(text)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
