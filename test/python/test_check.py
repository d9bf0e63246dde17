"""`lutllm check`: everything that does not convert, at once, with its place and what to do."""

import json

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lutllm.errors import InputError  # noqa: E402
from lutllm.importer.convertible import check_module, check_spec  # noqa: E402
from lutllm.lowering.raising.missing import NO_LINEAR, NO_TORCH_OP  # noqa: E402
from lutllm.lowering.raising.reader import DOWNSTREAM, NO_ACTIVATION  # noqa: E402


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
    assert groups["aten.cat", "expected two parts: angles twice"].count == 1
    assert not report.all_linears_convert
    assert not report.convertible
    assert (report.structure, report.float_error) == (None, None)


def test_places_name_module_and_line(report):
    odd = next(g for g in report.not_raised if "even input width" in g.reason)
    assert [(p.module, p.count) for p in odd.places] == [("odd", 1)]
    file, line, _ = odd.places[0].location.rsplit(":", 2)
    with open(file) as stream:
        assert "self.odd(x)" in stream.readlines()[int(line) - 1]


def test_text_says_it_all(report):
    text = str(report)
    assert text.startswith("mixed: 2 linears become table lookups (66.7% of the parameters)")
    assert "aten.linear (1): expected an even input width (whole pairs), got 7; pad the input" in text
    assert "aten._linalg_svd (1): torch-mlir does not know this op: rewrite" in text
    total = sum(group.count for group in report.not_raised)
    assert f"{total} ops keep the model from becoming integer ops" in text


def test_json(report):
    data = json.loads(json.dumps(report.to_dict()))
    assert data["all_linears_convert"] is False
    assert (data["convertible"], data["float_error"], data["structure"]) == (False, None, None)
    assert data["linears"][1]["name"] == "twice"
    assert sum(g["count"] for g in data["not_raised"]) == sum(g.count for g in report.not_raised)


@pytest.mark.parametrize(("name", "ops"), [("tiny-llama", 33), ("tiny-qwen3", 37)])
def test_builtin_model(name, ops):
    report = check_spec(name)
    assert len(report.linears) == 15
    assert report.all_linears_convert and report.convertible
    assert report.share > 0.99
    assert report.not_raised == []
    assert sum(part.count for part in report.structure) == ops
    data = json.loads(json.dumps(report.to_dict()))
    assert data["convertible"] is True
    assert 0 < data["float_error"] < 1e-5
    attention = next(part for part in data["structure"] if part["op"] == "attention")
    assert (attention["name"], attention["count"]) == ("model.layers.*.self_attn", 2)
    text = str(report)
    assert "in floats, its results are within " in text
    assert "the whole model becomes integer ops" in text
    assert f"2 x model.layers.*.self_attn  attention, {attention['shape']}" in text
    assert attention["shape"].startswith("4 heads of 1") and attention["shape"].endswith(" on 2 of keys and values")
    assert "2 x model.layers.*.self_attn.q_proj  48 -> " in text


class Gates(nn.Module):
    """Raised whole; but a gated value has the exponents of the linear that reads it, and a width is odd."""

    def __init__(self):
        super().__init__()
        self.gate, self.odd = nn.Linear(4, 4), nn.Linear(4, 3)
        self.last = nn.Linear(3, 4)

    def forward(self, x):
        y = self.gate(x)
        y = y + nn.functional.silu(y) * y
        return self.last(self.odd(y))


def test_structural_ops_without_integer_form_are_listed():
    report = check_module(Gates(), (torch.zeros(1, 5, 4),))
    assert report.float_error < 1e-5
    assert {part.op for part in report.structure} == {"linear", "gated", "add"}
    assert not report.convertible and not report.all_linears_convert
    groups = {group.op: group for group in report.not_raised}
    assert "an even number of inputs" in groups["lut.float_linear"].reason
    assert groups["lut.float_add"].reason.startswith("expected b of an embedding, a norm, a linear, RoPE or a sum")
    place = groups["lut.float_add"].places[0]
    file, line, _ = place.location.rsplit(":", 2)
    with open(file) as stream:
        assert "y + nn.functional.silu(y) * y" in stream.readlines()[int(line) - 1]
    assert "ops keep the model from becoming integer ops" in str(report)


def test_a_float_level_that_is_wrong_is_listed_at_its_op(monkeypatch):
    from lutllm.interpreter import floats

    monkeypatch.setattr(floats, "silu", lambda x: x)
    monkeypatch.setitem(floats.ACTIVATIONS, "silu", lambda x: x)
    report = check_spec("tiny-llama")
    assert report.float_error > 1e-2 and not report.convertible
    (group,) = report.not_raised
    assert group.op == "lut.float_gated"
    assert "'model.layers.0.mlp.gated' in module 'model.layers.0.mlp' to compute what PyTorch does" in group.reason


def test_a_decoder_with_one_foreign_op():
    from lutllm.models import load
    from lutllm.models.wrappers import whole_model

    module = load("tiny-llama", fill=False).module
    for layer in module.model.layers:
        layer.mlp.act_fn = nn.Sigmoid()
    report = check_module(*whole_model(module))
    assert not report.convertible and report.structure is None
    assert report.all_linears_convert
    assert [(g.op, g.count, g.reason) for g in report.not_raised] == [
        ("aten.sigmoid", 2, NO_ACTIVATION),
        ("aten.mul.Tensor", 2, DOWNSTREAM),
    ]
    assert "2 x model.layers.*.mlp.act_fn  " in str(report)


class Products(nn.Module):
    """Linears that are no nn.Linear: by products with a transposed parameter."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.randn(8, 8) / 3) for _ in range(3))
        self.bias = nn.Parameter(torch.randn(8))

    def forward(self, x):
        y = x @ self.a.T + self.bias
        z = torch.addmm(self.bias, y.flatten(0, 1), self.b.t()).unflatten(0, (1, 5))
        return torch.einsum("bti,oi->bto", z, self.c)


def test_products_with_a_transposed_parameter_are_linears():
    report = check_module(Products(), (torch.zeros(1, 5, 8),))
    assert [(linear.name, linear.parameters) for linear in report.linears] == [("a", 72), ("b", 72), ("c", 64)]
    assert report.convertible and report.float_error < 1e-5


class OtherProducts(nn.Module):
    """Each of another layout than a linear's, on a line of its own."""

    def __init__(self):
        super().__init__()
        self.weight, self.packed = nn.Parameter(torch.randn(8, 8)), nn.Parameter(torch.randn(24, 8))
        self.first, self.last, self.conv = nn.Linear(8, 8), nn.Linear(8, 8), nn.Conv1d(8, 8, 1)

    def forward(self, x):
        x = self.first(x)
        a = x @ self.weight
        b = torch.einsum("bti,io->bto", x, self.weight)
        c = nn.functional.linear(x, self.packed[8:16])
        d = self.conv(x.transpose(1, 2)).transpose(1, 2)
        return self.last(a + b + c + d)


def test_other_products_with_parameters_are_listed_with_their_lines():
    report = check_module(OtherProducts(), (torch.zeros(1, 5, 8),))
    assert [linear.name for linear in report.linears] == ["first", "last"] and not report.all_linears_convert
    found = {}
    for group in report.not_raised:
        for place in group.places:
            file, line, _ = place.location.rsplit(":", 2)
            with open(file) as stream:
                found[stream.readlines()[int(line) - 1].strip().partition(" =")[0]] = group
    assert {name: (found[name].op, found[name].reason) for name in "ab"} == {
        "a": ("aten.mm", NO_LINEAR),
        "b": ("aten.bmm", NO_LINEAR),
    }
    assert found["c"].op == "aten.linear" and "a weight that is a parameter" in found["c"].reason
    assert found["d"].op == "aten.convolution" and "of size 1 is an nn.Linear" in found["d"].reason


class Written(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.up, self.down, self.activation = nn.Linear(8, 6), nn.Linear(6, 8), activation

    def forward(self, x):
        return self.down(self.activation(self.up(x)))


@pytest.mark.parametrize(
    ("activation", "known"),
    [
        (lambda x: 0.5 * x * (1 + torch.tanh(0.7978845608 * x * (1 + 0.044715 * x * x))), "gelu_tanh"),
        (lambda x: 0.5 * x * (1 + torch.tanh(0.7978845608028654 * (x + 0.044715 * torch.pow(x, 3)))), "gelu_tanh"),
        (lambda x: x * 0.5 * (1.0 + torch.erf(x / 2**0.5)), "gelu"),
        (lambda x: x * torch.sigmoid(x), "silu"),
        (lambda x: x * torch.sigmoid(1.702 * x), None),
        (lambda x: 0.5 * x * (1 + torch.tanh(0.79 * (x + 0.044715 * torch.pow(x, 3)))), None),
        (lambda x: x * x * x, None),
    ],
)
def test_activations_written_out(activation, known):
    """Found by what they compute, not by how; others are refused at the op that completes them."""
    report = check_module(Written(activation), (torch.zeros(1, 5, 8),))
    if known is None:
        assert any(group.reason == NO_ACTIVATION for group in report.not_raised)
        return
    assert report.convertible and report.float_error < 1e-5
    assert [part.op for part in report.structure].count("gated") == 1


def test_model_that_does_not_load():
    with pytest.raises(InputError, match="expected a model directory"):
        check_spec("no-such-model")
