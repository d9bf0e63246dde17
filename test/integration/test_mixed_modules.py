"""Modules that are no language models, from PyTorch to machine code by MLIR's own passes: the integers of their linears
are the interpreter's, whatever the floats around them are.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lutllm import dialect, interpreter, lowering, store  # noqa: E402
from lutllm.bindings import ir  # noqa: E402
from lutllm.embed import compile_linalg  # noqa: E402
from lutllm.importer import import_module  # noqa: E402
from lutllm.lowering.pipelines import to_linalg  # noqa: E402
from lutllm.lowering.quantize.torch_to_lut import convert_linears  # noqa: E402
from lutllm.numerics import dequantize, quantize  # noqa: E402
from lutllm.passes import PASSES, run_pipeline  # noqa: E402
from lutllm.passes.walk import ops_in  # noqa: E402
from lutllm.quantization import constants_of  # noqa: E402
from lutllm.quantizer import quantize_linears  # noqa: E402
from lutllm.scheme import ADDITIVE, EXACT, PAPER, QuantizedLinear  # noqa: E402

SMALL = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48)


def perceptron():
    return nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 10)), torch.randn(6, 24)


def vit():
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(**SMALL, image_size=16, patch_size=4, attn_implementation="eager")
    return Last(ViTModel(config, add_pooling_layer=False)), torch.randn(2, 3, 16, 16)


def bert():
    from transformers import BertConfig, BertModel

    config = BertConfig(**SMALL, vocab_size=90, max_position_embeddings=32, attn_implementation="eager")
    return Last(BertModel(config, add_pooling_layer=False)), torch.randint(0, 90, (2, 12))


class Last(nn.Module):
    """The hidden state of a model of transformers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x).last_hidden_state


def integers(module: nn.Module, x, linears) -> np.ndarray:
    """What PyTorch computes around the interpreter's linears."""

    def hook(name):
        q = linears[name]

        def replace(_part, arguments, _result):
            x = quantize(arguments[0].numpy(), np.repeat(q.exponents.astype(np.int64), 2), q.scheme.x_bits)
            return torch.from_numpy(dequantize(interpreter.linear(q, x), q.out_exponent).astype(np.float32))

        return replace

    hooks = [module.get_submodule(name).register_forward_hook(hook(name)) for name in linears]
    result = module(x).numpy()
    for each in hooks:
        each.remove()
    return result


def show_linears(module: ir.Module) -> list[str]:
    """Let the function return what every linear reads and writes, too; their names."""
    (function,) = (op for op in module.body.operations if op.operation.name == "func.func")
    linears = ops_in(module.operation, dialect.LinearOp)
    with module.context, ir.Location.unknown():
        last = list(function.entry_block.operations)[-1]
        values = [*last.operands, *(v for each in linears for v in (each.x, each.y))]
        with ir.InsertionPoint(last):
            ir.Operation.create("func.return", operands=values)
        last.operation.erase()
        type_ = ir.FunctionType.get(function.type.inputs, [v.type for v in values])
        function.attributes["function_type"] = ir.TypeAttr.get(type_)
    return [each.weights.value for each in linears]


class Mixed(NamedTuple):
    """A module of PyTorch, its input, its linears in integers; itself as IR that shows them, what lowers that."""

    torch: nn.Module
    x: torch.Tensor
    linears: dict[str, QuantizedLinear]
    ir: ir.Module
    names: list[str]
    pipeline: str


def mixed(make, scheme, folder: Path) -> Mixed:
    torch.manual_seed(0)
    module, x = make()
    module = module.eval().requires_grad_(False)
    linears = quantize_linears(module, [x.numpy()] if x.is_floating_point() else x.numpy(), scheme)
    store.save_linears(folder, linears)
    imported = import_module(module, (x,))
    assert not convert_linears(imported.module, constants_of(linears)).kept
    imported.save_parameters(folder / "floats.safetensors")
    names = show_linears(imported.module)
    assert sorted(names) == sorted(linears)
    return Mixed(module, x, linears, imported.module, names, to_linalg(str(folder), str(folder / "floats.safetensors")))


def check(m: Mixed, result: np.ndarray, seen: list[np.ndarray], error: float) -> None:
    """Every linear exactly, the whole as PyTorch computes it around these linears."""
    for name, x_int, y_int in zip(m.names, seen[::2], seen[1::2], strict=True):
        assert np.array_equal(y_int, interpreter.linear(m.linears[name], x_int)), name
        assert len(np.unique(y_int)) > 20
    wanted = integers(m.torch, m.x, m.linears)
    assert np.linalg.norm(result - wanted) <= error * np.linalg.norm(wanted)
    assert np.linalg.norm(m.torch(m.x).numpy() - wanted) > 0


CASES = {
    "mlp-exact": (perceptron, EXACT, 0),  # of floats it has a ReLU alone
    "mlp-paper": (perceptron, PAPER.with_(c_a=16, G=16), 0),
    "vit-exact": (vit, EXACT, 1e-4),
    "bert-additive": (bert, ADDITIVE.with_(G=16), 1e-4),
}


@pytest.mark.parametrize(("make", "scheme", "error"), CASES.values(), ids=CASES)
def test_every_linear_equals_the_interpreter(make, scheme, error: float, tmp_path: Path) -> None:
    m = mixed(make, scheme, tmp_path)
    run_pipeline(m.ir, m.pipeline, passes=(*PASSES, *lowering.PASSES))
    result, *seen = compile_linalg(m.ir)(m.x.numpy())
    check(m, result, seen, error)
