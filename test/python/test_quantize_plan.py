"""What a quantization would take, beside one that was made: bits and disk are its own, work is counted as it runs."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")

import lutllm
from lutllm.errors import InputError
from lutllm.models import outline
from lutllm.models.random_weights import CONFIGS
from lutllm.quantizer import plan as planning
from lutllm.quantizer.linear import factors, weights
from lutllm.quantizer.linear.weights import fit_weights
from lutllm.scheme import EXACT
from lutllm.tools.lutllm import main

HOW = {"scheme": "additive", "stages": 2, "tokens": 256, "distill": 0}


@pytest.fixture(scope="module", autouse=True)
def speeds():
    """Machines are measured on less, which changes times only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "SAMPLE", 64)
        yield


def test_bits_and_disk_are_those_of_the_model_made(tmp_path):
    found = lutllm.plan_quantize("tiny-llama", **HOW)
    made = lutllm.quantize("tiny-llama", tmp_path / "q", **HOW)
    assert found.bits == pytest.approx(made.model.bits["effective"])
    described = [(one["linear"], one["shape"], one["bits_effective"]) for one in made.records()]
    assert [(one["linear"], one["shape"], one["bits_effective"]) for one in found.records()] == described
    size = (tmp_path / "q" / "parameters.safetensors").stat().st_size
    assert found.disk == pytest.approx(size, rel=0.1)
    assert found.to_frame()["linear"][0] == made.records()[0]["linear"]


def test_a_shape_needs_no_weights(tmp_path):
    values = CONFIGS["qwen3-1.7b"] | {"dtype": "bfloat16", "architectures": ["Qwen3ForCausalLM"]}
    (tmp_path / "config.json").write_text(json.dumps(values))
    module, size = outline(tmp_path)
    assert {p.device.type for p in module.parameters()} == {"meta"}
    assert size == 2 * sum(p.numel() for p in module.parameters()) == 2 * 1_720_574_976
    one, two = (lutllm.plan_quantize(tmp_path, stages=r) for r in (1, 2))
    assert one.checkpoint == size and one.weights == 1_720_451_072  # transformers: without 123,904 of norms
    assert two.disk - one.disk == pytest.approx(one.weights / 2, rel=0.1), "a code of a pair in a byte"
    assert two.memory > one.memory and 2.1 < one.bits < 2.3
    assert not one.seconds["gradients"] and one.seconds["fits"] > 0, "a large model has no gradients"


@pytest.mark.parametrize(("inputs", "outputs"), [(512, 128), (256, 1024)])
def test_products_of_a_fit_are_as_many_as_counted(monkeypatch, inputs, outputs):
    done = []

    def counted(a, b):
        done.append(2 * a.shape[0] * a.shape[1] * b.shape[1])
        return real(a, b)

    real = weights.multiply
    for module in (weights, factors):
        monkeypatch.setattr(module, "multiply", counted)
    weight = np.random.default_rng(0).normal(size=(outputs, inputs))
    fit_weights(weight, np.eye(inputs), EXACT.with_(R=1, G=128), refits=planning.REFITS)
    assert planning.products(inputs, outputs) == pytest.approx(sum(done), rel=0.2)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--bits", "4"], "expected a dry run without --bits"),
        (["--cluster", "tcp://127.0.0.1:1"], "expected a dry run without --cluster"),
    ],
)
def test_what_is_not_counted_is_refused(options, problem, capsys):
    assert main(["quantize", "tiny-llama", "--dry-run", *options]) == 1
    assert problem in capsys.readouterr().err


def test_the_verb_writes_nothing_but_its_answer(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["quantize", "tiny-llama", "-o", "q", "--dry-run", "--json", "plan.json"]) == 0
    assert "15 linears" in capsys.readouterr().out and [p.name for p in tmp_path.iterdir()] == ["plan.json"]
    assert json.loads((tmp_path / "plan.json").read_text())["bits_effective"] > 2
    assert main(["quantize", "tiny-llama"]) == 1
    assert "expected a directory to write, got none" in capsys.readouterr().err


def test_an_unknown_model_is_one_error():
    with pytest.raises(InputError, match="expected a model"):
        lutllm.plan_quantize("no-such-model")
