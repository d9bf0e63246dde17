"""`lutllm diff` on what `lutllm compile` wrote: exit codes, text, JSON, and directories that cannot be compared."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lutllm.accelerator import hardware
from lutllm.compiler import Options, compile
from lutllm.compiler import compiled as compiled_files
from lutllm.lowering.export.image.whole import IMAGE, MANIFEST
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.quantized.pretrained import from_pretrained, save_pretrained
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import EXACT
from lutllm.simulate import Simulator
from lutllm.tools.lutllm import main

pytest.importorskip("transformers", reason="tokenizers need transformers: pip install 'lutllm[models]'")


def quantized(directory: Path, seed: int) -> Path:
    from lutllm.models.tokenizer import byte_tokenizer

    shape = float_decoder(hidden=16, intermediate=24, layers=1, heads=2, kv_heads=1, head_dim=8)
    model = random_model(shape, EXACT, seed=seed, positions=48)
    return save_pretrained(replace(model, tokenizer=byte_tokenizer(), config={"model_type": "llama"}), directory)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diff")
    model = quantized(folder / "model", 3)
    options = Options(target="tiny", context=32, prompt="abc", tokens=2, simulator=None)
    return compile(model, folder / "out", options).directory


@pytest.fixture(autouse=True)
def built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "build", lambda config, kind, rtl: _built(config, kind))


_build, _simulators = hardware.build, {}


def _built(config: AcceleratorConfig, kind: str) -> Simulator:
    assert kind == "arc"
    if config.identity not in _simulators:
        _simulators[config.identity] = _build(config, kind)
    return _simulators[config.identity]


def damaged(compiled: Path, to: Path) -> Path:
    """A copy with a bit of the first norm's gain turned."""
    shutil.copytree(compiled, to)
    regions = json.loads((to / "mem" / MANIFEST).read_text())["regions"]
    region = next(r for r in regions if r["kind"] == "p" and not r["name"].startswith("rope"))
    image = bytearray((to / "mem" / IMAGE).read_bytes())
    image[region["address"] + 2] ^= 1
    (to / "mem" / IMAGE).write_bytes(image)
    return to


def test_equal_levels(compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "diff.json"
    assert main(["diff", str(compiled), "--json", str(report)]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("lut and transaction: equal (")
    assert lines[1].startswith("transaction and hw: equal (") and len(lines) == 2
    assert "transaction: 3 tokens in, 2 out" in err
    values: dict[str, Any] = json.loads(report.read_text())
    assert values["equal"] and values["prompt_ids"] == [ord(c) for c in "abc"] and len(values["token_ids"]) == 2
    assert values["comparisons"][1]["difference"] is None


def test_a_directory_that_was_moved(
    compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs nothing from where it was made; its manifest names the model by hash."""
    out, model = shutil.copytree(compiled, tmp_path / "out"), compiled.parent / "model"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LUTLLM_CACHE", str(tmp_path / "empty"))
    model.rename(tmp_path / "hidden")
    try:
        assert main(["diff", "out", "--levels", "lut", "--quiet"]) == 0
        assert capsys.readouterr().out.startswith("lut and transaction: equal (")
    finally:
        (tmp_path / "hidden").rename(model)
    about = (out / compiled_files.ABOUT).read_text()
    assert json.loads(about)["model"]["sha256"] == from_pretrained(out / "model").sha256
    assert str(compiled) not in about and str(model) not in about.replace(f'"name": "{model}"', "")


def test_a_difference(compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong, wave, report = damaged(compiled, tmp_path / "wrong"), tmp_path / "a.vcd", tmp_path / "diff.json"
    arguments = ["diff", str(wrong), "--levels", "transaction,hw", "--wave", str(wave), "--prompt", "xy"]
    assert main([*arguments, "--tokens", "1", "--quiet", "--json", str(report)]) == 1
    out, err = capsys.readouterr()
    assert err == "" and "transaction and hw: DIFFERENT after" in out
    assert "'lut.rms_norm + lut.rescale' of model.layers.0.input_layernorm: token 0, channel 0: expected" in out
    assert f"waveform in {wave}" in out and "input_layernorm" in wave.read_text()
    (comparison,) = json.loads(report.read_text())["comparisons"]
    found = comparison["difference"]
    assert found["module"] == "model.layers.0.input_layernorm" and found["cycle"] > 0 and found["tokens"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--levels", "lut,gates"], "expected levels to compare among lut, transaction, hw, rtl, got gates"),
        (["--levels", "transaction"], "expected levels to compare among lut, transaction, hw, rtl, got transaction"),
        (["--levels", "lut", "--wave", "w.vcd"], "--wave is of the level hw: expected it among --levels"),
        (["--prompt", "x" * 40], "expected a prompt of 1..32 tokens, the context, got 40"),
    ],
)
def test_what_cannot_be_asked(
    compiled: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["diff", str(compiled), "--quiet", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_another_model(compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shutil.copytree(compiled, tmp_path / "out")
    shutil.rmtree(out / "model")
    assert main(["diff", str(out), "--quiet"]) == 1
    assert "model': expected the model that was compiled, got no such directory" in capsys.readouterr().err
    quantized(out / "model", 4)
    assert main(["diff", str(out), "--quiet"]) == 1
    assert "expected the model that was compiled, with parameters " in capsys.readouterr().err


def test_directories_that_are_of_no_whole_model(
    compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", str(tmp_path), "--quiet"]) == 1
    assert "expected a whole model of lutllm compile, got neither a model nor an out" in capsys.readouterr().err
    for verb in (["simulate", str(compiled)], ["run", str(compiled), "x"], ["check", str(compiled)]):
        assert main(verb) == 1
        said = capsys.readouterr().err
        assert f"a compiled model: `lutllm diff` compares its levels, {compiled}/model is the model in integers" in said
    short = tmp_path / "short"
    shutil.copytree(compiled, short)
    (short / "mem" / IMAGE).write_bytes(b"123")
    assert main(["diff", str(short), "--quiet"]) == 1
    assert "bytes, got 3; compile again" in capsys.readouterr().err
    (short / compiled_files.SCHEDULED).write_text("module {")
    assert main(["diff", str(short), "--quiet"]) == 1
    assert "expected scheduled IR, got" in capsys.readouterr().err
    text = (compiled / compiled_files.SCHEDULED).read_text()
    shutil.copy(compiled / "mem" / IMAGE, short / "mem")
    for old, new in (("lut.store = ", "test.store = "), ("gain = @model.norm.gain", "gain = @gone")):
        (short / compiled_files.SCHEDULED).write_text(text.replace(old, new))
        assert main(["diff", str(short), "--quiet"]) == 1
        assert "expected scheduled IR that verifies and names its store; compile again" in capsys.readouterr().err
