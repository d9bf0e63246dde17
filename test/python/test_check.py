"""`lutllm check`: everything that does not convert, at once, with its place and what to do."""

import json

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lutllm.check import check, check_module  # noqa: E402
from lutllm.decoder import Decoder  # noqa: E402
from lutllm.errors import InputError  # noqa: E402
from lutllm.lowering.torch_ir.reader import DOWNSTREAM, NO_PATTERN, NO_TORCH_OP  # noqa: E402


class Mixed(nn.Module):
    """Two linears that convert, one used twice; and one of each kind that does not."""

    def __init__(self):
        super().__init__()
        self.good = nn.Linear(4, 6)
        self.twice = nn.Linear(6, 6, bias=False)
        self.odd = nn.Linear(7, 4)
        self.pad = nn.Parameter(torch.zeros(1, 1))

    def forward(self, x):
        x = self.twice(self.twice(self.good(x)))
        x = torch.cat([x, self.pad.expand(x.shape[0], 1)], dim=1)
        x = self.odd(x)
        x = nn.functional.linear(x, self.good.weight * 2)
        x = torch.linalg.svd(x)[0] + torch.linalg.eigh(x[:, :5])[1]
        return x


@pytest.fixture(scope="module")
def report():
    return check_module(Mixed(), (torch.zeros(5, 4),), name="mixed")


def test_linears_that_convert(report):
    found = [(i.name, i.inputs, i.outputs, i.parameters, i.uses) for i in report.linears]
    assert found == [("good", 4, 6, 30, 1), ("twice", 6, 6, 36, 2)]
    assert report.share == pytest.approx(66 / (30 + 36 + 32 + 1))


def test_everything_else_is_listed_at_once(report):
    groups = {(g.op, g.reason.split(",")[0]): g for g in report.not_raised}
    assert ("aten.linear", "expected an even input width (whole pairs)") in groups
    assert ("aten.linear", "expected a weight that is a parameter") in groups
    assert groups["aten._linalg_svd", NO_TORCH_OP].count == 1
    assert groups["aten._linalg_eigh", NO_TORCH_OP].count == 1
    assert groups["aten.add.Tensor", DOWNSTREAM].count == 1
    assert groups["aten.cat", "expected two halves: angles twice"].count == 1
    assert not report.all_linears_convert
    assert report.decoder is None


def test_places_name_module_and_line(report):
    odd = next(g for g in report.not_raised if "even input width" in g.reason)
    assert [(p.module, p.count) for p in odd.places] == [("odd", 1)]
    file, line, _ = odd.places[0].location.rsplit(":", 2)
    with open(file) as stream:
        assert "self.odd(x)" in stream.readlines()[int(line) - 1]


def test_text_says_it_all(report):
    text = report.text()
    assert text.startswith("mixed: 2 linears become table lookups (66.7% of the parameters)")
    assert "aten.linear (1): expected an even input width (whole pairs), got 7; pad the input" in text
    assert "aten._linalg_svd (1): torch-mlir does not know this op: rewrite" in text
    total = sum(group.count for group in report.not_raised)
    assert f"{total} ops keep the model from becoming integer ops" in text


def test_json(report):
    data = json.loads(json.dumps(report.to_dict()))
    assert data["all_linears_convert"] is False
    assert data["linears"][1]["name"] == "twice"
    assert sum(g["count"] for g in data["not_raised"]) == sum(g.count for g in report.not_raised)


@pytest.mark.parametrize(("name", "normed"), [("tiny-llama", ""), ("tiny-qwen3", ", normed")])
def test_builtin_model(name, normed):
    report = check(name)
    assert len(report.linears) == 15
    assert report.all_linears_convert
    assert report.share > 0.99
    assert report.not_raised == []
    assert len(report.decoder.layers) == 2
    data = json.loads(json.dumps(report.to_dict()))
    assert Decoder.from_dict(data["decoder"]) == report.decoder
    dim = report.decoder.layers[0].attention.head_dim
    text = report.text()
    assert "the whole model becomes integer ops" in text
    assert f"2 x layer: 4 heads of {dim} on 2 of keys and values{normed}; MLP of 80" in text
    assert "2 x model.layers.*.self_attn.q_proj  48 -> " in text


def test_a_decoder_with_one_foreign_op():
    from lutllm.models import load
    from lutllm.models.wrappers import whole_model

    module = load("tiny-llama", fill=False).module
    for layer in module.model.layers:
        layer.mlp.act_fn = nn.GELU()
    report = check_module(*whole_model(module))
    assert report.decoder is None
    assert report.all_linears_convert
    assert [(g.op, g.count, g.reason) for g in report.not_raised] == [
        ("aten.gelu", 2, NO_PATTERN),
        ("aten.mul.Tensor", 2, DOWNSTREAM),
    ]
    assert "2 x model.layers.*.mlp.act_fn  " in report.text()


def test_model_that_does_not_load():
    with pytest.raises(InputError, match="expected a model directory"):
        check("no-such-model")
