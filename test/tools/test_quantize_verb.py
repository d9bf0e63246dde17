"""`lutllm quantize` of whole models and `lutllm eval`: options, logs, exit codes and one line for each mistake."""

import json

import pytest

pytest.importorskip("torch", reason="quantization needs torch: pip install 'lutllm[models]'")

from lutllm.models.text import default_text
from lutllm.store import load_linears
from lutllm.tools.lutllm import main

RECIPE = "[{targets: '*', scheme: exact, stages: 1}, {targets: '*down_proj', scheme: exact, block: 32}]"


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "topics.txt"
    path.write_text("\n\n".join(list(default_text().documents.values())[:30]))
    return path


@pytest.fixture(scope="module")
def made(text, tmp_path_factory):
    """A directory of `lutllm quantize` with a recipe, and its log."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "recipe.yaml").write_text(RECIPE)
    arguments = ["quantize", "tiny-llama", "-o", str(folder / "q"), "--recipe", str(folder / "recipe.yaml")]
    assert main([*arguments, "--text", str(text), "--tokens", "1024", "--quiet", "--json", str(folder / "log")]) == 0
    return folder


def test_the_recipe_counts(made):
    found = load_linears(made / "q")
    assert len(found) == 15
    for name, q in found.items():
        assert ((2, 32) if "down" in name else (1, q.outputs)) == (q.scheme.R, q.scheme.G)


def test_the_log_has_a_line_a_linear_and_one_for_the_whole(made):
    *linears, last = [json.loads(line) for line in (made / "log").read_text().splitlines()]
    assert [entry["linear"] for entry in linears] == list(load_linears(made / "q"))
    assert {"shape", "scheme", "bits", "loss", "seconds", "peak_memory_mb"} <= set(linears[0])
    assert last["linears"] == 15 and last["bits_effective"] > last["bits_code"] > 2 and last["seconds"] > 0


def test_progress_is_a_line_a_linear_and_the_end_says_what_it_cost(made, text, tmp_path, capsys):
    arguments = ["quantize", "tiny-llama", "-o", str(tmp_path), "--scheme", "exact:1", "--text", str(text)]
    assert main([*arguments, "--tokens", "512"]) == 0
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("[")]
    assert len(lines) == 15 and "MB" in lines[0] and "s left" in lines[0] and "\x1b" not in err
    assert "15 linears, " in out and " effective bits per weight" in out and " MB" in out
    assert main([*arguments, "--tokens", "512", "--quiet"]) == 0, "a finished run is read back"
    assert main([*arguments, "--tokens", "1024"]) == 1
    assert "expected a run with tokens = 512, got 1024; use another" in capsys.readouterr().err


def test_bits_are_shared_out(text, tmp_path, capsys):
    arguments = ["quantize", "tiny-llama", "-o", str(tmp_path), "--bits", "9.5", "--text", str(text), "--quiet"]
    assert main([*arguments, "--tokens", "512"]) == 0
    assert len({q.scheme.R for q in load_linears(tmp_path).values()}) > 1
    effective = float(capsys.readouterr().out.split(" effective")[0].split()[-1])
    assert 7.5 < effective <= 9.5


@pytest.mark.parametrize("bits", ["many", "0", "-3", "nan", "64"])
def test_bits_are_a_number(bits, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["quantize", "tiny-llama", "-o", "q", "--bits", bits])
    assert stop.value.code == 2 and "expected bits a weight such as 3.2" in capsys.readouterr().err


def test_eval_prints_three_numbers_and_writes_them(made, text, tmp_path, capsys):
    report = tmp_path / "eval.json"
    arguments = ["eval", str(made / "q"), "--text", str(text), "--tokens", "128", "--window", "32", "--quiet"]
    assert main([*arguments, "--json", str(report), "--backend", "golden"]) == 0
    out = capsys.readouterr().out
    found = json.loads(report.read_text())
    for key in ("float", "lut_float", "lut_integer"):
        assert f" {found[key]:.3f} " in out and found[key] > 1
    assert f"{found['bits_effective']:.3f} effective bits per weight" in out
    assert found["corpus"]["source"] == "topics.txt, documents held apart"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quantize", "tiny-llama", "-o", "q", "--scheme", "best"], "expected schemes among paper, additive, exact"),
        (
            ["quantize", "tiny-llama", "-o", "q", "--recipe", "r", "--stages", "2"],
            "expected a recipe alone, got scheme, stages, bits, table bits",
        ),
        (["quantize", "tiny-llama", "-o", "q", "--recipe", "none.yaml"], "none.yaml: expected a recipe, got No such"),
        (
            ["quantize", "tiny-llama", "-o", "q", "--layers", "0", "--recipe", "r"],
            "expected --recipe for a whole model, got --layers too; leave one out",
        ),
        (
            ["quantize", "tiny-llama", "-o", "q", "--layers", "0", "--move-codes"],
            "expected --move-codes for a whole model, got --layers too",
        ),
        (
            ["quantize", "tiny-llama", "-o", "q", "--distill", "0", "--batch", "2"],
            "expected steps of distillation for its batch and codes, got none (distill 0)",
        ),
        (["quantize", "tiny-llama", "-o", "q", "--text", "none.txt"], "none.txt: expected a text file, got No such"),
        (
            ["quantize", "tiny-llama", "-o", "q", "--bits", "3", "--stages", "2"],
            "expected bits or stages, got both",
        ),
        (
            ["quantize", "tiny-llama", "-o", "q", "--bits", "3", "--table-bits", "12"],
            "expected bits or table bits, got both",
        ),
        (
            ["quantize", "tiny-llama", "-o", "q", "--scheme", "paper", "--table-bits", "40"],
            "expected table_bits = 2..24 for kind 'vq', got 40",
        ),
        (
            ["quantize", "tiny-llama", "-o", "q", "--bits", "3", "--scheme", "paper"],
            "bits: expected the scheme exact, got",
        ),
        (["eval", "none", "--text", "t", "--source-tokens", "9"], "got none; ask for both"),
        (["eval", "none"], "'none': expected a directory made by lutllm quantize, got none; run `lutllm quantize"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == "" and message in err.splitlines()[-1]
    assert not (tmp_path / "q").exists()


def test_a_directory_that_is_not_whole_is_named(made, tmp_path, capsys):
    (tmp_path / "run.json").write_text("{}")
    assert main(["eval", str(tmp_path)]) == 1
    assert "got one that is not finished: run the same lutllm quantize again" in capsys.readouterr().err
    assert main(["check", str(made / "q")]) == 1
    assert "expected a float model, got one that lutllm has quantized" in capsys.readouterr().err


def test_table_bits_and_steps_of_distillation(text, tmp_path, capsys):
    arguments = ["quantize", "tiny-llama", "--scheme", "paper", "--stages", "2", "--text", str(text), "--tokens", "512"]
    for steps in ("0", "3"):
        assert main([*arguments, "-o", str(tmp_path / steps), "--table-bits", "12", "--distill", steps]) == 0
        assert ("distillation [3/3]" in capsys.readouterr().err) == (steps == "3")
    none, three = (load_linears(tmp_path / steps) for steps in ("0", "3"))
    head = three.pop("lm_head").scheme
    assert head.kind == "exact" and head.R == 2 and head.table_bits == 16
    assert {(q.scheme.kind, q.scheme.R, q.scheme.table_bits) for q in three.values()} == {("vq", 2, 12)}
    assert any((none[name].multiplier != q.multiplier).any() for name, q in three.items())
    with pytest.raises(SystemExit):
        main([*arguments, "-o", "q", "--distill", "-1"])
