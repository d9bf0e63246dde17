"""`import_module`: parameters outside the IR, names and locations of PyTorch, for any module with linears."""

import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lutllm import dialect  # noqa: E402
from lutllm.bindings import ir  # noqa: E402
from lutllm.importer import import_module  # noqa: E402
from lutllm.lowering.raising.linears import linear_name, linears_in, weight_symbol  # noqa: E402

HERE = Path(__file__).name


class Tower(nn.Module):
    """Linears nested two deep, with and without bias."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8, bias=False), nn.ReLU()) for _ in range(2))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return x


def linears(imported):
    with imported.context:
        return [(linear_name(op, {}), weight_symbol(op)) for op in linears_in(imported.module.operation)]


def globals_of(imported):
    found = [op for op in imported.module.body.operations if op.operation.name == "ml_program.global"]
    return {op.attributes["sym_name"].value: str(op.attributes["type"].value) for op in found}


def test_parameters_are_external_globals_under_their_pytorch_names():
    module = Tower()
    imported = import_module(module, (torch.zeros(3, 6),))
    assert globals_of(imported) == {
        "stem.weight": "tensor<8x6xf32>",
        "stem.bias": "tensor<8xf32>",
        "blocks.0.0.weight": "tensor<8x8xf32>",
        "blocks.1.0.weight": "tensor<8x8xf32>",
    }
    assert "dense<" not in imported.text()
    assert "dense_resource" not in imported.text()
    assert dialect.verify(imported.module)


def test_parameters_are_shared_with_pytorch_not_copied():
    module = Tower()
    imported = import_module(module, (torch.zeros(3, 6),))
    for name, parameter in module.named_parameters():
        assert imported.parameters[name].data_ptr() == parameter.data_ptr()


def test_every_linear_names_its_module_and_source_line():
    imported = import_module(Tower(), (torch.zeros(3, 6),))
    assert linears(imported) == [
        ("stem", "stem.weight"),
        ("blocks.0.0", "blocks.0.0.weight"),
        ("blocks.1.0", "blocks.1.0.weight"),
    ]
    source = Path(__file__).read_text().splitlines()
    with imported.context:
        for op, line in zip(
            linears_in(imported.module.operation), ("self.stem(x)", "block(x)", "block(x)"), strict=True
        ):
            assert isinstance(op.location, ir.NameLoc)
            child = op.location.child_loc
            assert Path(child.filename).name == HERE
            assert line in source[child.start_line - 1]


def test_name_prefix():
    imported = import_module(Tower(), (torch.zeros(3, 6),), name_prefix="tower.3.")
    assert linears(imported)[1] == ("tower.3.blocks.0.0", "tower.3.blocks.0.0.weight")
    assert set(imported.parameters) == {f"tower.3.{name}" for name, _ in Tower().named_parameters()}


@pytest.mark.parametrize("shape", [(4, 6), (2, 4, 6), (2, 3, 4, 6)])
def test_inputs_of_any_rank_keep_the_linear_whole(shape):
    imported = import_module(nn.Sequential(nn.Linear(6, 10)), (torch.zeros(shape),))
    assert linears(imported) == [("0", "0.weight")]
    sizes = ",".join(map(str, (*shape[:-1], 10)))
    assert f"-> !torch.vtensor<[{sizes}],f32>" in imported.text()


def test_module_that_is_itself_a_linear():
    assert linears(import_module(nn.Linear(6, 4), (torch.zeros(2, 6),), name_prefix="proj.")) == [
        ("proj", "proj.weight")
    ]


def test_linear_used_twice_has_one_global():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.proj = nn.Linear(6, 6)

        def forward(self, x):
            return self.proj(self.proj(x))

    imported = import_module(Twice(), (torch.zeros(2, 6),))
    assert linears(imported) == [("proj", "proj.weight")] * 2
    assert set(imported.parameters) == {"proj.weight", "proj.bias"}


def test_one_linear_under_two_names_has_the_first():
    class Alias(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(6, 6)
            self.b = self.a

        def forward(self, x):
            return self.b(torch.relu(self.a(x)))

    imported = import_module(Alias(), (torch.zeros(2, 6),))
    assert linears(imported) == [("a", "a.weight")] * 2


def test_tied_weight_is_one_global_but_two_linears():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(6, 6, bias=False)
            self.second = nn.Linear(6, 6, bias=False)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(torch.relu(self.first(x)))

    imported = import_module(Tied(), (torch.zeros(2, 6),))
    assert linears(imported) == [("first", "first.weight"), ("second", "first.weight")]
    assert set(imported.parameters) == {"first.weight"}


def test_buffers_and_constants_are_external_too():
    class Buffers(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", torch.ones(4))
            self.register_buffer("hidden", torch.ones(4), persistent=False)

        def forward(self, x):
            return x * self.scale + self.hidden + torch.tensor([1.0, 2.0, 3.0, 4.0])

    imported = import_module(Buffers(), (torch.zeros(2, 4),))
    assert {"scale", "hidden"} <= set(imported.parameters)
    constant = next(t for name, t in imported.parameters.items() if name.startswith("constant."))
    assert constant.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_training_mode_and_gradients_are_left_as_they_were():
    module = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5)).train()
    imported = import_module(module, (torch.zeros(2, 6),))
    assert module.training
    assert all(p.requires_grad for p in module.parameters())
    assert "dropout" not in imported.text()


def test_dynamic_tokens():
    shapes = ({0: torch.export.Dim("tokens", min=1, max=64)},)
    imported = import_module(nn.Linear(6, 4), (torch.zeros(3, 6),), dynamic_shapes=shapes)
    assert re.search(r"torch\.aten\.linear .*vtensor<\[\?,6\],f32>", imported.text())


def test_same_module_gives_the_same_text():
    texts = {import_module(Tower(), (torch.zeros(3, 6),)).text() for _ in range(2)}
    assert len(texts) == 1


def test_text_parses_again():
    imported = import_module(Tower(), (torch.zeros(3, 6),))
    with imported.context:
        again = ir.Module.parse(imported.text())
        assert again.operation.get_asm(enable_debug_info=True) == imported.text()
        assert [linear_name(op, {}) for op in linears_in(again.operation)] == ["stem", "blocks.0.0", "blocks.1.0"]


def test_saved_parameters_are_the_tensors(tmp_path):
    from safetensors.torch import load_file

    module = Tower()
    with torch.no_grad():
        module.stem.weight = nn.Parameter(torch.arange(48.0).reshape(6, 8).t())  # not contiguous
    imported = import_module(module, (torch.zeros(3, 6),))
    digest = imported.save_parameters(tmp_path / "p.safetensors")
    assert digest == imported.save_parameters(tmp_path / "again.safetensors")
    loaded = load_file(tmp_path / "p.safetensors")
    assert loaded.keys() == imported.parameters.keys()
    assert all(torch.equal(loaded[name], t) for name, t in imported.parameters.items())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.safetensors", "p.safetensors"]
