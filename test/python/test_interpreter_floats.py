"""The float ops are PyTorch's functions: one torch expression for each op, and the errors of wrong inputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lutllm import dialect, interpreter
from lutllm.bindings import ir
from lutllm.dialect.symbols import op_parameters
from lutllm.errors import IRError, NumericsError
from lutllm.interpreter import floats

torch = pytest.importorskip("torch")
F = torch.nn.functional

CTX = dialect.context()
RNG = np.random.default_rng(0)
Arrays = dict[str, np.ndarray]
T = 5


def x(channels: int) -> np.ndarray:
    return RNG.normal(0, 2, (T, channels)).astype(np.float32)


def tensor(array: np.ndarray) -> Any:
    return torch.from_numpy(array)


def turned(inputs: list[np.ndarray], p: Arrays) -> Any:
    """RoPE as Llama spells it, at positions 7..."""
    v = tensor(inputs[0]).view(T, 2, -1)
    angles = (torch.arange(7, 7 + T).float()[:, None] * tensor(p["rotary_emb.inv_freq"])).repeat(1, 2)[:, None]
    rotated = torch.cat((-v[..., 2:], v[..., :2]), dim=-1)
    return (v * angles.cos() + rotated * angles.sin()).flatten(1)


def attended(inputs: list[np.ndarray], p: Arrays) -> Any:
    q, k, v = (tensor(a).view(1, T, -1, 2).transpose(1, 2) for a in inputs)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.5, enable_gqa=True)[0].transpose(0, 1)


CASES: dict[type[dialect.LutOp], tuple[list[np.ndarray], Callable[[list[np.ndarray], Arrays], Any]]] = {
    dialect.FloatEmbeddingOp: (
        [np.array([3, 0, 31, 3, 1]), np.array([4])],
        lambda i, p: F.embedding(torch.tensor([*i[0], 4, 5, 6, 7, 8]), tensor(p["embed_tokens.weight"])),
    ),
    dialect.FloatNormOp: ([x(8)], lambda i, p: F.rms_norm(tensor(i[0]), (8,), tensor(p["norm.weight"]), 1e-5)),
    dialect.FloatLinearOp: (
        [x(8)],
        lambda i, p: F.linear(tensor(i[0]), tensor(p["proj.weight"]), tensor(p["proj.bias"])),
    ),
    dialect.FloatRopeOp: ([x(8), np.array([7])], turned),
    dialect.FloatAttentionOp: ([x(8), x(4), x(4)], attended),
    dialect.FloatGatedOp: ([x(8) * 60, x(8)], lambda i, p: F.silu(tensor(i[0])) * tensor(i[1])),
    dialect.FloatSliceOp: ([x(12)], lambda i, p: tensor(i[0]).view(T, 2, 6)[..., 4:].flatten(1)),
    dialect.FloatTanhOp: ([x(8)], lambda i, p: 30 * torch.tanh(tensor(i[0]))),
    dialect.FloatAddOp: ([x(8), x(8)], lambda i, p: tensor(i[0]) + tensor(i[1])),
}


def parameters_of(module: ir.Module) -> Arrays:
    found = {p.symbol: p for op in dialect.lut_ops(module) for p in op_parameters(op)}
    shapes = {name: [32 if size < 0 else size for size in p.shape] for name, p in found.items()}
    return {name: RNG.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def test_every_float_op_has_a_case() -> None:
    assert set(CASES) == {op for op in dialect.Lut.operations if op.__module__ == "lutllm.dialect.floats.ops"}


@pytest.mark.parametrize("op", CASES, ids=lambda op: op.OPERATION_NAME)
def test_run_is_pytorchs_function(op: type[dialect.LutOp]) -> None:
    inputs, by_torch = CASES[op]
    module = ir.Module.parse(op.EXAMPLE, CTX)
    parameters = parameters_of(module)
    got = np.concatenate(interpreter.run(module, inputs, parameters))
    wanted = by_torch(inputs, parameters).reshape(got.shape).numpy()
    assert got.dtype == np.float32 and got.any()
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6 * float(np.abs(wanted).max()))


def test_heads_are_normed_by_themselves() -> None:
    value, gain = x(8), RNG.normal(1, 0.1, 4).astype(np.float32)
    got = floats.norm(value, gain, 1e-6, groups=2)
    wanted = F.rms_norm(tensor(value).view(T, 2, 4), (4,), tensor(gain), 1e-6).flatten(1)
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-5)


def test_attention_in_groups_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    operands = [x(8), x(4), x(4)]
    whole = floats.attention(*operands, 4, 2, 0.5)
    monkeypatch.setattr(floats, "GROUP_ELEMENTS", 2 * T)
    np.testing.assert_allclose(floats.attention(*operands, 4, 2, 0.5), whole, rtol=1e-6, atol=1e-6)


def test_every_activation_of_the_dialect_runs() -> None:
    from lutllm.dialect.floats.ops import ACTIVATIONS

    assert tuple(floats.ACTIVATIONS) == ACTIVATIONS


@pytest.mark.parametrize(
    ("ids", "store", "error"),
    [
        ([3, 32], None, r"^-:\d+:\d+: error: expected token ids in 0..31, got 3..32; use the tokenizer of this model"),
        ([3], {}, r"expected 'embed_tokens.weight' \[\?, 8\] in the store for 'weight', got none; write it"),
        (
            [3],
            {"embed_tokens.weight": np.zeros((32, 6))},
            r"'embed_tokens.weight' \[\?, 8\] .* got \[32, 6\]; write it",
        ),
    ],
)
def test_wrong_inputs_are_located_errors(ids: list[int], store: Arrays | None, error: str) -> None:
    module = ir.Module.parse(dialect.FloatEmbeddingOp.EXAMPLE, CTX)
    with pytest.raises((NumericsError, IRError), match=error):
        interpreter.run(module, [np.array(ids), np.array([0])], parameters_of(module) if store is None else store)
