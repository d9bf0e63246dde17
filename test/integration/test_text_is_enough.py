"""From the text of any level the tools go on to the same bytes: image, hw text, SystemVerilog."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="model import needs torch: pip install 'lutllm[models]'")

from lutllm import lowering, passes
from lutllm.compiler import Options, Result, compile, pipeline
from lutllm.lowering import pipelines
from lutllm.tools import lutllm_opt, lutllm_translate
from lutllm.tools.lutllm import main

CONTEXT = 32
LICENSE = Path(__file__).parents[2] / "LICENSE"
OPTIONS: dict[str, Any] = dict(target="tiny", context=CONTEXT, prompt="abc", tokens=1, simulator=None)


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny-llama in integers, from PyTorch."""
    directory = tmp_path_factory.mktemp("quantized") / "q"
    arguments = ["quantize", "tiny-llama", "-o", str(directory), "--stages", "1", "--text", str(LICENSE)]
    assert main([*arguments, "--tokens", "1024", "--distill", "0", "--quiet"]) == 0
    return directory


@pytest.fixture(scope="module")
def made(quantized: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return compile(quantized, tmp_path_factory.mktemp("out"), Options(**OPTIONS))


def steps_from(level: str, quantized: Path) -> str:
    """The passes that `compile` runs after a level."""
    rest = [pipelines.to_steps(), pipelines.to_placed("tiny"), pipelines.to_schedule()]
    after = {
        "torch": [pipelines.to_program(str(quantized), CONTEXT), *rest],
        "float": [pipelines.to_program(str(quantized), CONTEXT).replace("torch-raise,", ""), *rest],
        "lut": rest,
        "steps": rest[1:],
        "placed": rest[2:],
    }
    return pipelines.joined(*after[level])


def image(scheduled: Path, quantized: Path, target: Path) -> bytes:
    arguments = ["--scheduled-to-image", str(scheduled), "--store", str(quantized), "-o", str(target)]
    assert lutllm_translate.main(arguments) == 0
    return target.read_bytes()


@pytest.mark.parametrize("level", ["torch", "float", "lut", "steps", "placed"])
def test_any_level_goes_on_to_the_same_image_and_hardware(
    level: str, made: Result, quantized: Path, tmp_path: Path
) -> None:
    source, scheduled = made.directory / "ir" / f"model.{level}.mlir", tmp_path / "scheduled.mlir"
    passes_ = steps_from(level, quantized)
    assert lutllm_opt.run(["--pass-pipeline", passes_, str(source), "-o", str(scheduled)]) == 0
    wanted = (made.directory / "mem" / "image.bin").read_bytes()
    assert image(scheduled, quantized, tmp_path / "image.bin") == wanted
    assert lutllm_translate.main(["--scheduled-to-hw", str(scheduled), "-o", str(tmp_path / "hw.mlir")]) == 0
    assert (tmp_path / "hw.mlir").read_text() == (made.directory / "ir" / "model.hw.mlir").read_text()


def test_the_printed_pipeline_is_the_whole_way(quantized: Path) -> None:
    printed = pipeline(quantized, Options(**OPTIONS))
    assert printed == steps_from("torch", quantized)
    assert str(passes.Pipeline(printed, (*passes.PASSES, *lowering.PASSES))) == printed


def test_hw_text_becomes_the_same_systemverilog_in_a_process_of_its_own(made: Result, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lutllm.tools.lutllm_translate", "--hw-to-sv", "-", "-o", str(tmp_path / "rtl")]
    text = (made.directory / "ir" / "model.hw.mlir").read_bytes()
    assert subprocess.run(command, input=text, capture_output=True).stderr == b""
    files = {path.name: path.read_bytes() for path in (tmp_path / "rtl").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (made.directory / "rtl").iterdir()}


def test_wrong_hw_text_is_one_error(made: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (made.directory / "ir" / "model.hw.mlir").read_text()
    bad = tmp_path / "bad.mlir"
    bad.write_text(text.replace("comb.icmp eq", "comb.icmp no", 1))
    assert lutllm_translate.main(["--hw-to-sv", str(bad), "-o", str(tmp_path / "rtl")]) == 1
    error = capsys.readouterr().err
    line = next(i for i, part in enumerate(bad.read_text().splitlines(), 1) if "comb.icmp no" in part)
    assert error.startswith(f"error: hw module: {bad}:{line}:") and "attribute 'predicate'" in error
    bad.write_text("module {}")
    assert lutllm_translate.main(["--hw-to-sv", str(bad), "-o", str(tmp_path / "rtl")]) == 1
    assert "expected a module named 'lut_accelerator', got none" in capsys.readouterr().err


def test_an_edit_of_the_machine_reaches_the_image(made: Result, quantized: Path, tmp_path: Path) -> None:
    """The header says which machine an image is for; of the rest, only the checks that follow from it change."""
    text = (made.directory / "ir" / "model.scheduled.mlir").read_text()
    edited = tmp_path / "edited.mlir"
    edited.write_text(text.replace("watchdog = 1048576", "watchdog = 1048577"))
    before = (made.directory / "mem" / "image.bin").read_bytes()
    after = image(edited, quantized, tmp_path / "image.bin")
    different = {i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b}
    regions = json.loads((made.directory / "mem" / "image.json").read_text())["regions"]
    lists = [range(r["address"], r["address"] + r["bytes"]) for r in regions if r["kind"] == "d"]
    in_lists = {i for i in different if any(i in places for places in lists)}
    assert different - in_lists - {72, 73} and different - in_lists <= {*range(16, 24), 72, 73}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scheduled-to-image"], "expected --store"),
        (["--scheduled-to-hw", "--store", "q"], "--store is for --scheduled-to-image"),
        (["--hw-to-sv", "--store", "q"], "--store is for --scheduled-to-image"),
    ],
)
def test_wrong_use(
    arguments: list[str], message: str, made: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(made.directory / "ir" / "model.scheduled.mlir")
    assert lutllm_translate.main([*arguments, source, "-o", str(tmp_path / "x")]) == 1
    assert message in capsys.readouterr().err


def test_another_store_is_refused(
    made: Result, quantized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "parameters.safetensors"
    other.write_bytes((quantized / "parameters.safetensors").read_bytes()[:-1] + b"\x7f")
    source = str(made.directory / "ir" / "model.scheduled.mlir")
    arguments = ["--scheduled-to-image", source, "--store", str(other), "-o", str(tmp_path / "image")]
    assert lutllm_translate.main(arguments) == 1
    assert "expected SHA-256" in capsys.readouterr().err


def test_a_level_that_is_not_scheduled_is_refused(
    made: Result, quantized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for level, message in (("torch", "expected IR that verifies"), ("placed", "expected one task of engine")):
        source = str(made.directory / "ir" / f"model.{level}.mlir")
        arguments = ["--scheduled-to-image", source, "--store", str(quantized), "-o", str(tmp_path / "image")]
        assert lutllm_translate.main(arguments) == 1
        assert message in capsys.readouterr().err


def test_a_schedule_that_was_broken_is_refused(
    made: Result, quantized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No image is made of tasks that do not wait."""
    text = (made.directory / "ir" / "model.scheduled.mlir").read_text()
    task = re.compile(r'("lut\.task"\(%\w+), %\w+(\) \{engine = "norm"\} : \([^)]*), !lut\.token(\))')
    edited = tmp_path / "edited.mlir"
    edited.write_text(task.sub(r"\1\2\3", text, count=1))
    assert edited.read_text() != text
    arguments = ["--scheduled-to-image", str(edited), "--store", str(quantized), "-o", str(tmp_path / "image")]
    assert lutllm_translate.main(arguments) == 1
    assert "expected to wait for" in capsys.readouterr().err and not (tmp_path / "image").exists()
