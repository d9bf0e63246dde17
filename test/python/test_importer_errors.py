"""Modules that cannot be imported: one error with the line of the model that is to blame, no output, no traceback."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lutllm.errors import LutllmError  # noqa: E402
from lutllm.importer import import_module  # noqa: E402


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(4, 4)
        self.register_buffer("count", torch.zeros(4))


class DataDependent(Base):
    def forward(self, x):
        if x.sum() > 0:  # to blame
            return self.proj(x)
        return x


class Mutates(Base):
    def forward(self, x):
        self.count += 1  # to blame
        return self.proj(x) + self.count


class UnknownOp(Base):
    def forward(self, x):
        return self.proj(torch.linalg.svd(x)[0])  # to blame


class Branch(Base):
    def forward(self, x):
        return self.proj(torch.cond(x.sum() > 0, lambda v: v + 1, lambda v: v - 1, [x]))  # to blame


class Raises(Base):
    def forward(self, x):
        return self.proj(x.reshape(3, 7))  # to blame


def line_to_blame(kind: type) -> int:
    lines = Path(__file__).read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"class {kind.__name__}("))
    return next(i for i, line in enumerate(lines[start:], start + 1) if line.endswith("# to blame"))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (DataDependent, "expected a module torch.export can trace with these example inputs, got GuardOnDataDependent"),
        (Mutates, "expected a forward pass without side effects, got a change of the buffer 'count'"),
        (UnknownOp, r"expected ops torch-mlir knows, got aten._linalg_svd \(1x\); rewrite these parts of the model"),
        (Branch, "expected ops torch-mlir can import, got .*Higher-order operation 'cond' not implemented"),
        (Raises, r"expected a module torch.export can trace with these example inputs, got .*shape"),
    ],
)
def test_error_names_the_line(kind, message, capfd):
    with pytest.raises(LutllmError, match=message) as caught:
        import_module(kind(), (torch.zeros(4, 4),))
    assert caught.value.location == f"{__file__}:{line_to_blame(kind)}:0"
    assert str(caught.value).startswith(f"{__file__}:{line_to_blame(kind)}:0: error: expected")
    assert "\n" not in str(caught.value)
    assert "".join(capfd.readouterr()) == ""


def test_example_inputs_that_do_not_fit():
    with pytest.raises(LutllmError, match="change the module or the inputs"):
        import_module(nn.Linear(6, 4), (torch.zeros(3, 5),))
    with pytest.raises(LutllmError, match="change the module or the inputs"):
        import_module(nn.Linear(6, 4), ())


def test_all_unknown_ops_are_listed_at_once():
    class Two(nn.Module):
        def forward(self, x):
            return torch.linalg.svd(x)[0] + torch.linalg.svd(x + 1)[0] + torch.linalg.eigh(x)[1]

    with pytest.raises(LutllmError, match=r"aten._linalg_svd \(2x\), aten._linalg_eigh \(1x\)"):
        import_module(Two(), (torch.zeros(4, 4),))
