"""`lutllm report`: the page of a compiled model, its numbers, and what a browser makes of it."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lutllm.compiler import Options, compile
from lutllm.cost.traffic import traffic
from lutllm.errors import InputError
from lutllm.quantized.pretrained import save_pretrained
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.report.model_page import ModelReport, model_page
from lutllm.scheme import EXACT
from lutllm.tools.lutllm import main

pytest.importorskip("transformers", reason="tokenizers need transformers: pip install 'lutllm[models]'")
pytest.importorskip("plotly", reason="pip install 'lutllm[explore]'")

OPTIONS: dict[str, Any] = dict(target="tiny", context=32, prompt="abcdef")
CHARTS = 5  # roofline, cycles, ports, bits, resources; random weights have no error
browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def quantized(tmp_path_factory) -> Path:
    from lutllm.models.tokenizer import byte_tokenizer

    shape = float_decoder(hidden=16, intermediate=24, layers=2, heads=2, kv_heads=1, head_dim=8)
    model, about = random_model(shape, EXACT, seed=3, positions=48), {"model": {"name": "tiny"}}
    model = replace(model, tokenizer=byte_tokenizer(), config={"model_type": "llama"}, about=about)
    return save_pretrained(model, tmp_path_factory.mktemp("tiny") / "q")


@pytest.fixture(scope="module")
def made(quantized: Path, tmp_path_factory) -> Path:
    return compile(quantized, tmp_path_factory.mktemp("out"), Options(**OPTIONS, tokens=3)).directory


@pytest.fixture(scope="module")
def page(made: Path, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "model.html"
    assert main(["report", str(made), "-o", str(path), "--debug"]) == 0
    return path


def test_the_numbers_are_the_runs(made: Path, page: Path) -> None:
    text = page.read_text()
    answer = json.loads((made / "reports" / "tokens.json").read_text())
    report = ModelReport(made)
    assert [each.program for _, each in report.step] == ["decode", "head"]
    assert report.step[0][1].position == len("abcdef") + 1  # of the last token that was read
    total = int(re.search(r"Where the ([\d,]+) cycles of a token go", text).group(1).replace(",", ""))  # type: ignore[union-attr]
    steps = answer["token_cycles"][-1] - answer["token_cycles"][-2]
    assert 0.9 * steps < total <= steps  # what is between two lists is of neither
    assert "3 tokens out of arc, all equal to the golden model's" in text and "simulated cycle by cycle" in text
    moved = sum(sum(traffic(report.plan, each).values()) for _, each in report.step)
    weights = sum(2 * linear.pairs * linear.outputs for linear in report.model.linears.values())
    charts = json.loads(re.search(r"const charts = (\[.*?\]);\nconst dark", text, re.S).group(1))  # type: ignore[union-attr]
    assert len(charts) == CHARTS and charts[0]["data"][1]["x"] == [2 * weights / moved]
    for name in ("LUT-LLM", "A100", "MI210", "NVIDIA", "2511.06174"):
        assert name in text
    for round_ in report.plan.rounds:
        assert f"<td>{round_}</td>" in text


def test_the_page_needs_nothing_else(page: Path) -> None:
    outside = re.sub(r"<script>.*?</script>", "", page.read_text(), flags=re.S)
    assert not re.search(r"src=|href=|@import|url\(", outside)


def test_the_same_run_gives_the_same_page(made: Path, page: Path) -> None:
    assert model_page(made) == page.read_text()


@pytest.mark.skipif(browser is None, reason="chromium is not installed (apt install chromium)")
@pytest.mark.parametrize(("scheme", "ink"), [(1, "rgb(34, 34, 34)"), (0, "rgb(228, 228, 231)")], ids=["light", "dark"])
def test_a_browser_draws_it(page: Path, tmp_path: Path, scheme: int, ink: str) -> None:
    picture = tmp_path / "page.png"
    flags = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}",
        "--window-size=1200,4000",
    ]
    flags += [f"--blink-settings=preferredColorScheme={scheme}", "--virtual-time-budget=20000"]

    def run(what: str) -> str:
        command = [str(browser), *flags, what, f"file://{page}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=300).stdout

    drawn = re.sub(r"<script>.*?</script>", "", run("--dump-dom"), flags=re.S)
    assert drawn.count(" svg-container") == CHARTS and "heatmaplayer" in drawn
    titles = re.findall(r'<text class="xtitle"[^>]*fill: ([^;]+);', drawn)
    assert titles and set(titles) == {ink}
    run(f"--screenshot={picture}")
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 50_000


def test_a_run_without_simulation(quantized: Path, tmp_path: Path) -> None:
    made = compile(quantized, tmp_path, Options(**OPTIONS, tokens=2, simulator=None)).directory
    assert "predicted, not simulated" in model_page(made)


def test_what_has_no_page(quantized: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(quantized)]) == 1
    error = capsys.readouterr().err
    assert "manifest.json: expected what lutllm compile MODEL -o DIR writes, got none" in error
    short = tmp_path / "short"
    shutil.copytree(made, short)
    path = short / "reports" / "schedule.json"
    schedule = json.loads(path.read_text())
    schedule["lists"] = schedule["lists"][:2]
    path.write_text(json.dumps(schedule))
    with pytest.raises(InputError, match="expected a run that makes two tokens, got fewer"):
        model_page(short)


def test_codebooks_that_a_search_chose_are_those_of_the_model(quantized: Path, tmp_path: Path) -> None:
    path = tmp_path / "point.toml"
    path.write_text('like = "tiny"\nsummary = "s"\n[model]\nblock = 48\n[sources]\nmodel = "me"\n')
    with pytest.raises(InputError, match="expected codebooks of 48 outputs, as the search took them, got 512 in"):
        compile(quantized, tmp_path / "out", Options(**OPTIONS | {"target": str(path)}))
