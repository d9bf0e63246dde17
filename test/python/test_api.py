"""The public API: what is seen of it, results as text, tables and frames, progress, and what it refuses."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import lutllm
from lutllm.errors import InputError, MissingDependencyError
from lutllm.progress import Step
from lutllm.quantized.pretrained import QuantizedModel
from lutllm.run.session import GoldenSession
from lutllm.tabular import Tabular

pytest.importorskip("transformers")
pandas = pytest.importorskip("pandas", reason="frames need pandas: pip install 'lutllm[notebook]'")


LICENSE = Path(__file__).parents[2] / "LICENSE"


@pytest.fixture(scope="module")
def made(tmp_path_factory: Any) -> tuple[lutllm.Quantized, list[Step], list[dict]]:
    steps: list[Step] = []
    entries: list[dict] = []
    how: dict[str, Any] = {"text": LICENSE, "tokens": 1024, "own": 0.0, "distill": 0, "stages": 1}
    directory = tmp_path_factory.mktemp("q") / "tiny"
    found = lutllm.quantize("tiny-llama", directory, **how, progress=steps.append, listener=entries.append)
    return found, steps, entries


def test_everything_public_is_seen_and_documented() -> None:
    assert set(lutllm.__all__) <= set(dir(lutllm))
    for name in lutllm.__all__:
        found = getattr(lutllm, name)
        assert inspect.getdoc(found), name
        if inspect.isfunction(found):
            signature = inspect.signature(found)
            assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values()), name
            assert signature.return_annotation not in (inspect.Signature.empty, "Any"), name


def test_a_listener_hears_of_every_linear(made, capfd) -> None:
    found, steps, entries = made
    assert [entry["linear"] for entry in entries] == [row["linear"] for row in found.records()]
    assert "float level: every op of the model" in [step.label for step in steps]
    counted = [step for step in steps if step.total]
    assert counted and all(0 < step.done <= (step.total or 0) for step in counted)
    assert capfd.readouterr().err == ""


def test_results_are_tables(made) -> None:
    found, _, _ = made
    assert isinstance(found, Tabular) and isinstance(found.model, QuantizedModel)
    frame = found.to_frame()
    assert list(frame["linear"])[-1] == "lm_head" and len(frame) == len(found.model.linears)
    weights = frame["shape"].map(lambda shape: shape[0] * shape[1])
    mean = (frame["bits_effective"] * weights).sum() / weights.sum()
    assert mean == pytest.approx(found.model.bits["effective"], abs=1e-4)
    html = found._repr_html_()
    assert html.count("<tr>") == len(frame) + 1 and "<td>lm_head</td>" in html


def test_text_is_that_of_the_golden_model(made) -> None:
    model, pieces = made[0].model, []
    answer = lutllm.generate(model, "The table", tokens=6, on_text=pieces.append)
    assert str(answer) == answer.text == "".join(pieces)
    golden = GoldenSession.of(model, model.room())
    tokens, given = [], answer.prompt
    for _ in answer.tokens:
        tokens.append(int(golden.forward(given)[-1].argmax()))
        given = tokens[-1:]
    assert answer.tokens == tokens and len(tokens) == 6
    again = lutllm.generate(model, "The table", tokens=6)
    assert again.tokens == tokens and again.reused == len(answer.prompt) - 1  # the session was kept
    other = lutllm.generate(model, "The table", tokens=6, backend="golden", context=64)
    assert other.tokens == tokens and other.reused == 0
    sampled = [
        lutllm.generate(model, "The table", tokens=6, sampling=lutllm.Sampling(temperature=5.0, seed=seed)).tokens
        for seed in (1, 1, 2)
    ]
    assert sampled[0] == sampled[1] != sampled[2]


def test_an_evaluation_is_a_frame(made) -> None:
    found, _, _ = made
    measured = lutllm.eval(found.model, text=Path(__file__), tokens=256, window=64)
    (row,) = measured.to_frame().to_dict("records")
    assert row["ratio"] == pytest.approx(row["lut_integer"] / row["float"], abs=1e-4)
    assert f"{row['float']:.3f}" in str(measured)


def test_a_model_is_estimated_and_checked(made) -> None:
    found, _, _ = made
    estimate = lutllm.estimate(found.model, "tiny", kv=16, prefill=8)
    assert estimate.to_frame()["decode_cycles"][0] == estimate.decode_cycles > 0
    assert lutllm.estimate(found.directory, "tiny", kv=16, prefill=8) == estimate
    report = lutllm.check("tiny-llama")
    assert report.convertible and len(report.to_frame()) == len(found.model.linears)


def test_a_module_of_torch_is_checked() -> None:
    torch = pytest.importorskip("torch")
    found = lutllm.check(torch.nn.Linear(8, 4), [torch.zeros(2, 8)])
    assert [(row["inputs"], row["outputs"]) for row in found.records()] == [(8, 4)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda q: lutllm.quantize("tiny-llama", q / "x", bits=3.0, stages=1), "expected bits or stages, got both"),
        (lambda q: lutllm.quantize("tiny-llama", q / "x", recipe="r.yaml", stages=1), "expected a recipe alone"),
        (lambda q: lutllm.quantize("tiny-llama", q / "x", distill=0, batch=2), "expected steps of distillation"),
        (
            lambda q: lutllm.estimate(q, "tiny", kv=4, prefill=4, scheme="exact:2"),
            "expected no scheme for a model that",
        ),
        (lambda q: lutllm.estimate(q, "tiny", kv=4, prefill=4, block=64), "expected no block for a model that"),
        (lambda q: lutllm.eval(q, text="t", source_tokens=9), "expected source tokens where texts out of domain"),
        (lambda q: lutllm.check("tiny-llama", [1]), "expected no example of a model that is named"),
        (lambda q: lutllm.check(object()), "expected a module with an example"),
        (lambda q: lutllm.load("no-such-model"), "no-such-model"),
    ],
)
def test_what_does_not_go_together_is_refused(made, call, message) -> None:
    with pytest.raises(InputError, match=message):
        call(made[0].directory)


def test_an_error_has_its_parts() -> None:
    error = InputError("expected a number, got 'x'; write one", location="recipe.yaml:3:7")
    assert (error.file, error.line, error.column) == ("recipe.yaml", 3, 7)
    assert InputError("expected a number").file is None


def test_frames_say_what_they_need(monkeypatch, made) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match=r"lutllm\[notebook\]"):
        made[0].to_frame()
