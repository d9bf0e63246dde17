"""The `lutllm` command: options, reports, exit codes. Verbs that need a model are tested with tiny ones."""

import json
import subprocess
import sys

import pytest

from lutllm import __version__
from lutllm.tools.lutllm import main


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and __version__ in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["compile", "check", "quantize", "simulate", "diff", "bench", "doctor"])
def test_every_verb_takes_json_and_seed(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and "--json FILE" in text and "--seed SEED" in text


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["compile", "m", "-o", "d", "--layers", "a"],
        ["simulate", "d", "--wave-cycles", "5"],
        ["bench", "--tokens", "0"],
        ["check", "tiny-llama", "--seed", "-1"],
        ["doctor", "--seed", "1e3"],
    ],
)
def test_wrong_usage_exits_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2 and "usage:" in capsys.readouterr().err


def test_doctor_reports_what_is_there(tmp_path, capsys):
    report = tmp_path / "doctor.json"
    assert main(["doctor", "--json", str(report)]) == 0
    found = json.loads(report.read_text())
    names = {f["name"]: f for f in found["findings"]}
    assert found["healthy"] and names["torch-mlir"]["version"] == "20261001"
    assert names["verilator"]["how"] == "apt-get install verilator"
    assert "ready" in capsys.readouterr().out


def test_doctor_wants_the_pinned_version(monkeypatch):
    from lutllm import doctor

    real = doctor.importlib.metadata.version
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda n: "1.0" if n == doctor.CIRCT else real(n))
    found = doctor.diagnose()
    assert not found.healthy
    how = next(f.how for f in found.findings if f.name == doctor.CIRCT)
    assert f"pip install {doctor.CIRCT}=={real(doctor.CIRCT)} " in how


def test_bench_measures_and_checks(tmp_path, capsys, monkeypatch):
    from lutllm.accelerator import linear_bench

    monkeypatch.setattr(linear_bench, "SHAPES", (("q_proj", 24, 40), ("k_proj", 24, 17)))
    report = tmp_path / "bench.json"
    assert main(["bench", "--target", "tiny", "--tokens", "4", "--blocks", "24", "--json", str(report)]) == 0
    found = json.loads(report.read_text())
    assert {m["row_source"] for m in found["measurements"]} == {"exact_row", "built_row", "built_table", "stored_table"}
    assert all(m["equal"] and 0 < m["utilization"] < 1 for m in found["measurements"])
    assert "lookups/cycle" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["simulate", "/nonexistent"], ["compile", "m"]])
def test_an_error_is_one_line_and_exit_1(arguments, capsys):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("lutllm: error:") and error.count("\n") == 1


def test_an_unexpected_error_has_no_traceback_without_debug(capsys, monkeypatch):
    from lutllm import doctor

    monkeypatch.setattr(doctor, "diagnose", lambda: 1 / 0)
    assert main(["doctor"]) == 1
    error = capsys.readouterr().err
    assert "ZeroDivisionError" in error and "Traceback" not in error
    with pytest.raises(ZeroDivisionError):
        main(["doctor", "--debug"])


def test_a_directory_that_cannot_be_written_is_one_line(capsys, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["doctor", "--json", str(blocked / "report.json")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "report.json" in error and "Traceback" not in error


def test_starts_without_torch_or_circt():
    program = "import sys, lutllm.tools.lutllm; print(sorted({'torch', 'pycde', 'circt', 'numba'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_check_says_what_a_model_becomes(capsys, tmp_path):
    pytest.importorskip("torch", reason="model import needs torch: pip install 'lutllm[models]'")
    report = tmp_path / "check.json"
    assert main(["check", "tiny-llama", "--first-layers", "1", "--json", str(report)]) == 0
    text = capsys.readouterr().out
    assert "model.layers.*.self_attn.q_proj" in text and "becomes integer ops" in text
    written = json.loads(report.read_text())
    assert written["linears"] and written["convertible"] is True and written["float_error"] < 1e-5


def test_check_exits_1_when_a_model_is_not_convertible(capsys, tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'lutllm[models]'")
    from lutllm.models.random_weights import TINY

    values = {**TINY, "head_dim": 12, "hidden_act": "leaky_relu"}
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**values)).save_pretrained(tmp_path / "leaky")
    report = tmp_path / "check.json"
    assert main(["check", str(tmp_path / "leaky"), "--json", str(report)]) == 1
    assert "aten.leaky_relu (2)" in capsys.readouterr().out
    written = json.loads(report.read_text())
    assert (written["convertible"], written["float_error"]) == (False, None)


def test_quantize_prints_bits_and_errors(capsys, tmp_path):
    pytest.importorskip("torch", reason="quantization needs torch: pip install 'lutllm[models]'")
    arguments = ["quantize", "tiny-llama", "--layers", "0", "-o", str(tmp_path), "--scheme", "exact", "--stages", "1"]
    assert main([*arguments, "--calibration-tokens", "2048", "--quiet"]) == 0
    assert "model.layers.0.mlp.down_proj" in capsys.readouterr().out
    assert (tmp_path / "quantization.json").is_file()


def test_odd_width_and_pickle_are_refused(capsys, tmp_path):
    pytest.importorskip("torch", reason="model loading needs torch: pip install 'lutllm[models]'")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}')
    assert main(["quantize", str(tmp_path), "-o", str(tmp_path / "q")]) == 1
    assert "pickle" in capsys.readouterr().err
