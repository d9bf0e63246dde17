"""`lutllm diff` on what `lutllm compile` wrote: exit codes, text, JSON, and directories that cannot be compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lutllm import hardware, store
from lutllm.diff import saved
from lutllm.hardware import Hardware, text_of
from lutllm.lowering.accelerator import AcceleratorConfig
from lutllm.lowering.decoder_spec import read_decoder_spec
from lutllm.lowering.decoder_to_lut import decoder_to_lut
from lutllm.lowering.image.whole import IMAGE, MANIFEST, write_image
from lutllm.pretrained import QuantizedModel, save_pretrained
from lutllm.quantize.random_decoder import decoder_like, random_decoder
from lutllm.scheme import EXACT
from lutllm.simulate import Simulator
from lutllm.tools.lutllm import main

pytest.importorskip("transformers", reason="tokenizers need transformers: pip install 'lutllm[models]'")


def quantized(directory: Path, seed: int) -> Path:
    from lutllm.models.tokenizer import byte_tokenizer

    shape = decoder_like(hidden=16, intermediate=24, layers=1, heads=2, kv_heads=1, head_dim=8)
    decoder = random_decoder(shape, EXACT, seed=seed, positions=48)
    return save_pretrained(QuantizedModel(decoder, byte_tokenizer(), {"model_type": "llama"}), directory)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `lutllm diff` reads of the files that `lutllm compile MODEL -o OUT` writes."""
    folder = tmp_path_factory.mktemp("diff")
    model, out = quantized(folder / "model", 3), folder / "out"
    program = decoder_to_lut(read_decoder_spec(str(model)), 32)
    made = Hardware.of(program, store.load(model / store.PARAMETERS), target="tiny")
    store.write_atomic(out / saved.SCHEDULED, text_of(made.module).encode())
    write_image(out / "mem", made.plan, made.image)
    store.write_json(out / saved.TOKENS, {"prompt_ids": list(b"abc"), "token_ids": [1, 2]})
    about = {"model": {"name": "m", "directory": str(model)}, "options": {"prompt": "abcd", "tokens": 2}}
    store.write_json(out / saved.ABOUT, about)
    return out


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
    """It needs nothing but the model's arrays, wherever they are; of a run that was not simulated the prompt's text."""
    out, model = shutil.copytree(compiled, tmp_path / "out"), tmp_path / "model"
    shutil.copytree(compiled.parent / "model", model)
    about = json.loads((out / saved.ABOUT).read_text())
    store.write_json(out / saved.ABOUT, about | {"model": {"name": "gone"}})
    monkeypatch.chdir(tmp_path)
    assert main(["diff", "out", "--levels", "lut", "--quiet"]) == 1
    wanted = "error: 'gone': expected the model that 'out' was compiled from, got no parameters.safetensors there; give"
    assert wanted in capsys.readouterr().err
    (out / saved.TOKENS).unlink()
    assert main(["diff", "out", "--levels", "lut", "--model", "model"]) == 0
    out_, err = capsys.readouterr()
    assert out_.startswith("lut and transaction: equal (") and "transaction: 4 tokens in, 2 out" in err


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
        (["--prompt", "x" * 40], "expected a prompt of 1..32 tokens, the context, got 40"),
    ],
)
def test_what_cannot_be_asked(
    compiled: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["diff", str(compiled), "--quiet", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_another_model(compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = quantized(tmp_path / "other", 4)
    assert main(["diff", str(compiled), "--quiet", "--model", str(other)]) == 1
    assert f"expected the model that '{compiled}' was compiled from, SHA-256 " in capsys.readouterr().err


def test_directories_that_are_of_no_whole_model(
    compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", str(tmp_path), "--quiet"]) == 1
    assert "expected the output of lutllm compile, got no ir/model.scheduled.mlir" in capsys.readouterr().err
    short = tmp_path / "short"
    shutil.copytree(compiled, short)
    (short / "mem" / IMAGE).write_bytes(b"123")
    assert main(["diff", str(short), "--quiet"]) == 1
    assert "bytes, got 3; compile again" in capsys.readouterr().err
    (short / saved.SCHEDULED).write_text("module {")
    assert main(["diff", str(short), "--quiet"]) == 1
    assert "expected scheduled IR, got" in capsys.readouterr().err
    text = (compiled / saved.SCHEDULED).read_text()
    shutil.copy(compiled / "mem" / IMAGE, short / "mem")
    (short / saved.SCHEDULED).write_text(text.replace("lut.store = ", "test.store = "))
    assert main(["diff", str(short), "--quiet"]) == 1
    assert (
        f"'{short / saved.SCHEDULED}': expected an attribute lut.store on the module, got none; "
        in capsys.readouterr().err
    )
    (short / saved.SCHEDULED).write_text(text.replace("gain = @model.norm.gain", "gain = @gone"))
    assert main(["diff", str(short), "--quiet"]) == 1
    assert f"'{short / saved.SCHEDULED}': expected scheduled IR that verifies; compile again" in capsys.readouterr().err
