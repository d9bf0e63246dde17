"""`lutllm compile MODEL`: a whole tiny decoder to a directory, and tokens out of its hardware."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.compiler import Options, Result, compile
from lutllm.lowering.schedule.read import read_plan
from lutllm.progress import Step
from lutllm.quantized.pretrained import save_pretrained
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import EXACT
from lutllm.tools.lutllm import main

pytest.importorskip("transformers", reason="tokenizers need transformers: pip install 'lutllm[models]'")

OPTIONS: dict[str, Any] = dict(target="tiny", context=32, prompt="abc", tokens=2)


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    """A directory as `lutllm quantize` makes it."""
    from lutllm.models.tokenizer import byte_tokenizer

    shape = float_decoder(hidden=16, intermediate=24, layers=1, heads=2, kv_heads=1, head_dim=8)
    model, about = random_model(shape, EXACT, seed=3, positions=48), {"model": {"name": "tiny"}}
    model = replace(model, tokenizer=byte_tokenizer(), config={"model_type": "llama"}, about=about)
    return save_pretrained(model, tmp_path_factory.mktemp("tiny") / "q")


@pytest.fixture(scope="module")
def made(directory: Path, tmp_path_factory) -> Result:
    return compile(directory, tmp_path_factory.mktemp("out"), Options(**OPTIONS), progress=heard.append)


heard: list[Step] = []


def test_a_listener_hears_of_stages_and_of_cycles(made) -> None:
    cycles = [step for step in heard if step.label == "cycles"]
    assert cycles and all(0 < step.done <= made.answer.cycles for step in cycles)
    assert any(step.label.startswith("build simulator") for step in heard)


def report(made: Result, name: str) -> dict[str, Any]:
    return json.loads((made.directory / "reports" / name).read_text())


def test_tokens_are_the_golden_models(made) -> None:
    assert made.equal and len(made.answer.tokens) == 2
    tokens = report(made, "tokens.json")
    assert tokens["token_ids"] == tokens["golden_ids"] == made.answer.tokens
    assert tokens["prompt_ids"] == [ord(c) for c in "abc"]
    assert tokens["token_cycles"][-1] <= tokens["cycles"]


def test_every_file_is_in_the_manifest_with_its_hash(made) -> None:
    files = json.loads((made.directory / "manifest.json").read_text())["files"]
    there = {str(p.relative_to(made.directory)) for p in made.directory.rglob("*") if p.is_file()}
    assert there - set(files) == {"manifest.json", "reports/timing.json", "rtl/filelist.f", "rtl/lint.vlt"}
    for name, digest in files.items():
        assert hashlib.sha256((made.directory / name).read_bytes()).hexdigest() == digest, name
    wanted = {"rtl/lut_accelerator.sv", "tb/run.sh", "mem/image.bin", "ir/model.lut.mlir", "reports/schedule.html"}
    assert wanted <= set(files)


def test_the_schedule_is_in_the_ir(made) -> None:
    with dialect.context(), ir.Location.unknown():
        plan = read_plan(ir.Module.parse((made.directory / "ir" / "model.scheduled.mlir").read_text()))
    assert plan.memory_bytes == (made.directory / "mem" / "image.bin").stat().st_size
    assert {task.source for task in plan.tasks} >= {"model.layers.0.self_attn.q_proj", "lm_head"}


def test_cycles_by_engine_add_up(made) -> None:
    schedule = report(made, "schedule.json")
    assert schedule["how"] == "simulated"
    assert schedule["engines"]["attention"]["tasks"] == 2  # the prompt's pass and one token's
    assert 0 < schedule["engines"]["linear"]["busy"] <= schedule["cycles"] <= made.answer.cycles
    assert schedule["streams"]["m_axi_w0"] > 0


def test_fifos_hold_no_more_than_they_are_deep(made) -> None:
    rows = {row["stream"]: row for row in report(made, "streams.json")}
    assert rows["read_w"]["peak"] > 0 and not any(row["short"] for row in rows.values())
    assert "<h2>FIFOs</h2>" in (made.directory / "reports" / "schedule.html").read_text()


def test_the_same_input_gives_the_same_bytes(directory: Path, tmp_path: Path) -> None:
    options = Options(**(OPTIONS | {"simulator": None}))
    manifests = []
    for name in ("a", "b"):
        result = compile(directory, tmp_path / name, options)
        assert result.answer is None and result.predicted_cycles > 0
        manifests.append((tmp_path / name / "manifest.json").read_text())
    assert manifests[0] == manifests[1]
    assert report(result, "schedule.json")["how"] == "predicted"


def test_a_wrong_token_is_an_error(directory: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    from lutllm.compiler import model

    right = model.write_image

    def wrong(path: Path, module: Any, tensors: Any) -> None:
        right(path, module, tensors)
        image, region = np.fromfile(path, np.uint8), read_plan(module).regions["model.layers.0.mlp.down_proj.0.w0"]
        image[region.address : region.address + region.size] ^= 0x11
        image.tofile(path)

    monkeypatch.setattr(model, "write_image", wrong)
    arguments = ["compile", str(directory), "-o", str(tmp_path), "--target", "tiny", "--context", "32", "--quiet"]
    assert main([*arguments, "--prompt", "abc", "--tokens", "3"]) == 1
    printed = capsys.readouterr()
    assert "error: token " in printed.out and "NOT equal to the golden model's" in printed.out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--scheme", "paper,exact"], "expected one scheme for a whole model"),
        (["--layers", "0", "--prompt", "x"], "--prompt is for a whole model"),
        (["--layers", "0", "--simulator", "none"], "expected --simulator arc or verilator with --layers"),
        (["--target", "huge"], "expected a target among"),
        (["--target", "tiny", "--context", "1"], "expected a prompt of 1..1 tokens, the context, got 24"),
    ],
)
def test_wrong_use(directory: Path, tmp_path: Path, capsys, given: list[str], message: str) -> None:
    assert main(["compile", str(directory), "-o", str(tmp_path), "--quiet", *given]) == 1
    assert message in capsys.readouterr().err
