"""A whole model becomes a directory: read back as written, the same bytes after a kill anywhere, damage named."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lutllm  # noqa: E402
from lutllm import store  # noqa: E402
from lutllm.dialect import FloatNormOp  # noqa: E402
from lutllm.errors import InputError, LutllmError  # noqa: E402
from lutllm.lowering.quantize.graph import FloatGraph  # noqa: E402
from lutllm.models import load  # noqa: E402
from lutllm.models.text import Text, default_text  # noqa: E402
from lutllm.quantizer import VectorQuantizer, driver  # noqa: E402
from lutllm.quantizer.budget import Budget, TimeBudget  # noqa: E402
from lutllm.quantizer.observe import distillation  # noqa: E402
from lutllm.quantizer.recipe import load_recipe  # noqa: E402
from lutllm.quantizer.whole import quantize_model, structure_of  # noqa: E402
from lutllm.scheme import EXACT, PAPER  # noqa: E402

RECIPE = [{"targets": "*", "scheme": "exact", "stages": 1, "block": 64}]


@pytest.fixture(scope="module")
def model():
    return load("tiny-llama", seed=1, layers=1)


def make(model, directory, *, recipe=None, **changes):
    arguments = {"text": default_text(), "tokens": 128, "window": 64, "seed": 7, "progress": False, **changes}
    return quantize_model(model, directory, load_recipe(recipe or RECIPE), **arguments)


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """A finished directory; nobody changes it."""
    directory = tmp_path_factory.mktemp("whole") / "q"
    make(model, directory)
    return directory


def files(directory: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}
    return {name: data for name, data in found.items() if name != ".lock"}


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-qwen3"])
def test_the_structure_is_raised_from_the_model(name):
    structure = structure_of(load(name, seed=1))
    graph = FloatGraph(structure.module)
    assert graph.linears[0] == "model.layers.0.self_attn.q_proj" and graph.linears[-1] == "lm_head"
    assert len(graph.linears) == 15 and [len(names) for names in graph.shared_inputs] == [3, 1, 2, 1] * 2 + [1]
    assert len(graph.of(FloatNormOp)) == (9 if name == "tiny-qwen3" else 5)
    assert structure.float_error < 1e-5


def test_a_directory_is_read_back_and_written_as_it_was(whole, model, tmp_path):
    assert set(files(whole)) == {
        "config.json",
        "model.float.mlir",
        "model.torch.mlir",
        "parameters.safetensors",
        "quantization.json",
        "run.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    found = lutllm.from_pretrained(whole)
    assert list(found.linears) == FloatGraph(structure_of(model).module).linears
    assert found.tokenizer("héllo")["input_ids"] == model.tokenizer("héllo")["input_ids"]
    assert found.config["model_type"] == "llama" and found.config["num_hidden_layers"] == 1
    assert found.generation is None and found.chat_template is None
    assert found.about["model"]["fingerprint"] == model.fingerprint
    assert found.about["calibration"]["sha256"] == default_text().sha256
    lutllm.save_pretrained(found, tmp_path / "again")
    wanted = {name: data for name, data in files(whole).items() if name != "run.json"}
    assert files(tmp_path / "again") == wanted


def test_config_says_what_was_done(whole):
    said = json.loads((whole / "config.json").read_text())["quantization_config"]
    assert said["quant_method"] == "lutllm" and said["version"] == 2
    assert [(s["linears"], s["kind"], s["R"], s["G"]) for s in said["schemes"]] == [(8, "exact", 1, 64)]
    linears = store.load_linears(whole)
    sizes = [2 * q.pairs * q.outputs for q in linears.values()]
    effective = np.average([q.bits_per_weight()[1] for q in linears.values()], weights=sizes)
    assert said["bits"] == {"code": 2.0, "effective": round(effective, 4), "embedding": round(8 + 16 / 48, 4)}


def test_chat_template_and_generation_config_come_along(whole, tmp_path):
    found = lutllm.from_pretrained(whole)
    found.tokenizer.chat_template = "{{ messages[0].content }}"
    found.generation = {"eos_token_id": 256}
    lutllm.save_pretrained(found, tmp_path)
    again = lutllm.from_pretrained(tmp_path)
    assert again.chat_template == found.tokenizer.chat_template and again.generation == {"eos_token_id": 256}


@pytest.fixture
def known(model, monkeypatch):
    """Raising the structure takes most of the time of so small a model: once is enough."""
    structure = structure_of(model)
    monkeypatch.setattr("lutllm.quantizer.whole.structure_of", lambda _: structure)


class Killed(BaseException):
    """Stands for kill -9: nothing may run after it but what releases the lock."""


def writes_until_killed(monkeypatch, allowed: int) -> list[str]:
    """From now on, the write after `allowed` ones is never finished; its temporary file stays. The names written."""
    done: list[str] = []
    replace = os.replace

    def dying(source, target):
        if len(done) >= allowed:
            monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
            raise Killed(target)
        replace(source, target)
        done.append(Path(target).name)

    monkeypatch.setattr(os, "replace", dying)
    return done


def test_a_run_killed_anywhere_gives_the_same_bytes(model, known, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        done = writes_until_killed(patch, 10**9)
        make(model, tmp_path / "counted")
    head = next(i for i, name in enumerate(done) if name == "lm_head.safetensors")
    assert done[0] == "run.json" and done[-1] == "config.json"
    for allowed in (1, 2, 7, head, head + 1, done.index("quantization.json") + 1, len(done) - 4, len(done) - 1):
        directory = tmp_path / str(allowed)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            writes_until_killed(patch, allowed)
            make(model, directory)
        assert list(directory.rglob(".*.partial")), "the unfinished file is there"
        with pytest.raises(InputError, match=r"got one that is not finished: run the same lutllm quantize again"):
            lutllm.from_pretrained(directory)
        make(model, directory)
        assert files(directory) == files(whole), f"killed after {allowed} writes"


def test_work_that_is_done_is_not_done_again(model, known, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        done = writes_until_killed(patch, 10**9)
        patch.setattr("lutllm.quantizer.whole.save_pretrained", lambda *_: (_ for _ in ()).throw(Killed))
        make(model, tmp_path / "q")
    assert "lm_head.safetensors" in done
    monkeypatch.setattr(VectorQuantizer, "quantize_linear", None)
    seen = []
    make(model, tmp_path / "q", listener=seen.append)
    assert files(tmp_path / "q") == files(whole)
    monkeypatch.setattr("lutllm.quantizer.driver.quantize", None)
    again = make(model, tmp_path / "q")
    assert again.model.bits == lutllm.from_pretrained(whole).bits


def test_the_listener_hears_of_each_linear(model, tmp_path):
    heard = []
    summary = make(model, tmp_path / "q", listener=heard.append)
    assert [entry["linear"] for entry in heard] == list(summary.model.linears)
    for entry in heard:
        assert set(entry) == {"linear", "shape", "scheme", "bits", "loss", "seconds", "peak_memory_mb"}
        assert 0 < entry["loss"] < 1 and entry["seconds"] >= 0 and entry["peak_memory_mb"] > 10
    assert summary.to_dict()["bits_effective"] == summary.model.bits["effective"]
    assert "8 linears" in str(summary) and "effective bits per weight" in str(summary)


def test_another_run_is_refused(model, known, whole):
    before = files(whole)
    for changes, key in (
        ({"seed": 8}, "seed"),
        ({"tokens": 192}, "tokens"),
        ({"text": Text({"a": "other words " * 900}, "other", "none")}, "text"),
        ({"recipe": [{"targets": "*", "scheme": "exact", "stages": 2}]}, "recipe"),
    ):
        with pytest.raises(InputError, match=rf"expected a run with {key} = .*; use another directory"):
            make(model, whole, **changes)
    with pytest.raises(InputError, match=r"expected a run with model = .*; use another directory"):
        make(load("tiny-llama", seed=2, layers=1), whole)
    assert files(whole) == before


def test_half_of_the_windows_are_the_model_s_own(model, tmp_path, monkeypatch):
    """Of calibration and of distillation; the first ones, and none of them twice."""
    own = np.arange(4 * 64).reshape(4, 64) % 300
    monkeypatch.setattr(
        "lutllm.quantizer.observe.sampling.own_windows", lambda _m, count, *_a, **_k: own[:count].astype(np.int64)
    )
    seen = {"observe": [], "distill": []}
    observe, distill = VectorQuantizer.observe, distillation.distill

    def observing(self, name, x):
        seen["observe"].append((name, len(x)))
        observe(self, name, x)

    def distilling(module, linears, windows, **options):
        seen["distill"] = [w.tolist() for w in windows]
        assert options["batch"] == 2 and options["codes"]
        return distill(module, linears, windows, **options)

    monkeypatch.setattr(VectorQuantizer, "observe", observing)
    monkeypatch.setattr(distillation, "distill", distilling)
    given = []
    real = driver.mixed
    monkeypatch.setattr(
        driver, "mixed", lambda text, o, seed: given.append((len(text), o.tolist())) or real(text, o, seed)
    )
    real_weights = dataclasses.replace(model, origin={})
    make(real_weights, tmp_path / "q", tokens=256, distillation=2, batch=2, codes=True)
    assert (2, own[:2].tolist()) in given and (2, own[2:].tolist()) in given
    assert len(seen["distill"]) == 4 and [w in seen["distill"] for w in own.tolist()] == [False, False, True, True]
    about = lutllm.from_pretrained(tmp_path / "q").about["calibration"]
    assert about["own"] == 0.5 and about["codes"] and about["batch"] == 2
    given.clear()
    make(real_weights, tmp_path / "none", tokens=256, distillation=0, own=0.0)
    assert all(not o for _, o in given)


def test_a_device_that_is_not_there_is_refused(model, tmp_path):
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"device: expected one of cpu: PyTorch sees no GPU here; got 'cuda'"):
            make(model, tmp_path / "q", device="cuda")
    with pytest.raises(InputError, match=r"device: expected one of cpu.*; got 'tpu'"):
        make(model, tmp_path / "q", device="tpu")


def test_a_model_s_own_directory_is_never_written_over(model, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(
        InputError, match=r"expected a new directory or one of an earlier run, got a model; give another"
    ):
        make(model, tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "config.json"]


def test_a_budget_is_shared_out_once(model, known, tmp_path, monkeypatch):
    budget = Budget(9.5, EXACT.with_(G=64))
    arguments = {"text": default_text(), "tokens": 128, "window": 64, "seed": 7, "progress": False}
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("lutllm.quantizer.whole.driver.quantize", lambda *_, **__: (_ for _ in ()).throw(Killed))
        quantize_model(model, tmp_path / "q", budget, **arguments)
    with monkeypatch.context() as patch:
        patch.setattr("lutllm.quantizer.allocation.measure_costs", None)
        patch.setattr("lutllm.quantizer.observe.sensitivity.curvatures", None)
        found = quantize_model(model, tmp_path / "q", budget, **arguments).model
    stages = {q.scheme.R for q in found.linears.values()}
    assert len(stages) > 1 and stages <= {1, 2, 3} and 7.5 < found.bits["effective"] <= 9.5
    quantize_model(model, tmp_path / "whole", budget, **arguments)
    assert files(tmp_path / "q") == files(tmp_path / "whole")
    with pytest.raises(InputError, match=r"expected a run with recipe = .*; use another directory"):
        quantize_model(model, tmp_path / "q", Budget(9.0, EXACT.with_(G=64)), **arguments)
    with pytest.raises(InputError, match=r"bits: expected at least \d.* effective bits a weight for this model, got 1"):
        quantize_model(model, tmp_path / "less", Budget(1.0, EXACT), **arguments)
    with pytest.raises(InputError, match=r"bits: expected the scheme exact, got kind 'vq'; write a recipe instead"):
        Budget(4.0, PAPER)


def test_a_budget_of_time_is_kept(model, tmp_path):
    """By the estimate of the directory that was made, which reads its integers and not the search."""
    arguments = {"text": default_text(), "tokens": 128, "window": 64, "seed": 7, "progress": False, "distillation": 0}

    def made(name: str, recipe):
        found = quantize_model(model, tmp_path / name, recipe, **arguments).model
        return lutllm.estimate(found, "tiny", kv=20, prefill=8).decode_ms, found

    def within(milliseconds: float):
        return TimeBudget(milliseconds, "tiny", 20, EXACT.with_(G=64))

    least = made("least", load_recipe([{"targets": "*", "scheme": "exact", "stages": 1}]))[0]
    most, found = made("most", within(1e3))
    assert {linear.scheme.R for linear in found.linears.values()} == {3} and least < most
    asked = (3 * least + most) / 4
    takes, found = made("between", within(asked))
    assert asked - (most - least) / 4 < takes <= asked
    assert len({linear.scheme.R for linear in found.linears.values()}) > 1
    with pytest.raises(
        InputError, match=rf"budget_ms: expected at least {least:.3f} ms a token for this model on tiny"
    ):
        made("none", within(least / 2))


def test_readers_of_one_input_are_checked_before_work(model, tmp_path):
    mixed = [{"targets": "*"}, {"targets": "*k_proj", "scheme": "paper"}]
    with pytest.raises(
        InputError, match=r"k_proj': expected kind = exact, as of .*q_proj', which reads the same input"
    ):
        make(model, tmp_path / "q", recipe=mixed)
    assert not (tmp_path / "q").exists()


def test_what_cannot_be_raised_is_refused_before_work(tmp_path):
    odd = load("tiny-llama", seed=1, layers=1)
    odd.module.model.norm = torch.nn.Softmax(-1)
    with pytest.raises(LutllmError, match=r"op in 'model.norm': expected .*`lutllm check` lists them all"):
        make(odd, tmp_path / "q")
    assert not (tmp_path / "q").exists()


def test_a_float_model_is_not_loaded_from_it(whole):
    with pytest.raises(
        InputError,
        match=r"config.json: expected a float model, got one that lutllm has quantized; give .*\(tiny-llama\)",
    ):
        load(whole)


def edited(directory, file, change):
    values = json.loads((directory / file).read_text())
    change(values)
    (directory / file).write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, r"expected a directory made by lutllm quantize, got none; run `lutllm quantize MODEL -o"),
        (lambda d: (d / "config.json").unlink(), r"got one that is not finished: run the same lutllm quantize again"),
        (
            lambda d: [(d / name).unlink() for name in ("config.json", "run.json")],
            r"expected a directory made by lutllm quantize, got neither a model nor an output of lutllm; give another",
        ),
        (lambda d: (d / "config.json").write_text("{"), r"config.json': expected JSON, got"),
        (
            lambda d: edited(d, "config.json", lambda v: v.pop("quantization_config")),
            r"got a float model; run `lutllm q",
        ),
        (
            lambda d: edited(d, "config.json", lambda v: v["quantization_config"].update(quant_method="gptq")),
            r"expected quantization_config of quant_method 'lutllm', got 'gptq'",
        ),
        (
            lambda d: edited(d, "config.json", lambda v: v["quantization_config"].update(version=3)),
            r"expected version 2 of the directory, got 3; quantize again with this lutllm",
        ),
        (lambda d: (d / "quantization.json").unlink(), r"quantization.json': expected a readable file, got No such"),
        (
            lambda d: edited(d, "quantization.json", lambda v: v["adds"].clear()),
            r"quantization.json': expected SHA-256 .*, as config.json says, got .*: quantize again",
        ),
        (lambda d: (d / "model.float.mlir").unlink(), r"model.float.mlir': expected a readable file, got No such"),
        (
            lambda d: (d / "model.float.mlir").write_text("module {}"),
            r"model.float.mlir': expected SHA-256 .*, got .*: quantize again",
        ),
        (lambda d: (d / "parameters.safetensors").unlink(), r"parameters.safetensors': expected a readable file"),
        (
            lambda d: (d / "parameters.safetensors").write_bytes(b"\0" * 99),
            r"parameters.safetensors': expected SHA-256 .*, got .*: quantize again",
        ),
        (
            lambda d: edited(d, "tokenizer.json", lambda v: v["added_tokens"].clear()),
            r"tokenizer.json': expected SHA-256 .*, got .*: quantize again",
        ),
        (lambda d: (d / "model.torch.mlir").unlink(), r"model.torch.mlir': expected a readable file, got No such"),
    ],
)
def test_damage_is_named(whole, tmp_path, damage, message):
    directory = tmp_path / "q"
    shutil.copytree(whole, directory)
    damage(directory)
    with pytest.raises(InputError, match=message):
        lutllm.from_pretrained(directory)
