"""The float level beside PyTorch: it agrees, in any float type; a wrong rule is an error that names the op."""

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lutllm import models  # noqa: E402
from lutllm.errors import LutllmError  # noqa: E402
from lutllm.importer.agreement import Disagreement, import_float  # noqa: E402
from lutllm.importer.torch_run import run_torch  # noqa: E402
from lutllm.interpreter import floats  # noqa: E402
from lutllm.lowering.raising import patterns  # noqa: E402
from lutllm.lowering.raising.attention import Heads  # noqa: E402
from lutllm.lowering.raising.reader import Term  # noqa: E402
from lutllm.models.wrappers import whole_model  # noqa: E402


def whole(name: str, attention: str = "sdpa", seed: int = 0) -> Any:
    module = models.load(name, seed).module
    module.set_attn_implementation(attention)
    return whole_model(module)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-qwen3"])
def test_logits_are_pytorchs(name: str, attention: str) -> None:
    found = import_float(*whole(name, attention))
    assert 0 < found.float_error < 1e-5
    assert "@forward" in str(found.module)
    assert set(found.parameters) >= {"model.embed_tokens.weight", "model.rotary_emb.inv_freq"}


def test_a_model_in_bfloat16_is_compared_in_float32_and_left_as_it_was() -> None:
    wrapped, arguments = whole("tiny-qwen3")
    wrapped.to(torch.bfloat16)
    arguments = [a.to(torch.bfloat16) if a.is_floating_point() else a for a in arguments]
    before = {name: (p.data_ptr(), p.dtype) for name, p in wrapped.named_parameters()}
    assert import_float(wrapped, arguments).float_error < 1e-5
    assert {name: (p.data_ptr(), p.dtype) for name, p in wrapped.named_parameters()} == before
    assert {dtype for _, dtype in before.values()} == {torch.bfloat16}
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in wrapped.modules())


def doubled(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a rule of raising wrong: a number it finds is twice as large."""
    right = patterns.RULES[rule]

    def wrong(reader: Any, op: Any) -> Any:
        term, axes = right(reader, op)
        data = term.data
        if isinstance(data, Heads):
            data = replace(data, scale=2 * data.scale)
        elif term.kind == "norm":
            data = replace(data, epsilon=100 * data.epsilon + 1)
        return Term(term.kind, term.inputs, term.op, data, term.channels), axes

    monkeypatch.setitem(patterns.RULES, rule, wrong)


@pytest.mark.parametrize(
    ("rule", "op", "name"),
    [
        ("scaled_dot_product_attention", "lut.float_attention", "model.layers.0.self_attn"),
        ("mul.Tensor", "lut.float_norm", "model.layers.0.input_layernorm"),
    ],
)
def test_a_wrong_rule_is_caught_at_its_op(rule: str, op: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    doubled(rule, monkeypatch)
    with pytest.raises(Disagreement) as caught:
        import_float(*whole("tiny-llama"))
    found = caught.value
    assert (found.op, found.name, found.module) == (op, name, name)
    assert found.error > 1e-2
    assert found.location and "modeling_llama.py" in found.location
    assert f"'{op}' op '{name}' in module '{name}' to compute what PyTorch does, got a value that is" in found.message


def test_the_last_op_that_is_equal_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """RoPE has no module of its own: attention is the first whose value is seen."""
    monkeypatch.setattr(floats, "rope", lambda x, *_: x)
    with pytest.raises(Disagreement, match=r"'model.layers.0.self_attn.v_proj' is the last before it that is equal"):
        import_float(*whole("tiny-llama"))


def test_nan_is_no_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floats, "add", lambda a, b: (a + b) * float("nan"))
    with pytest.raises(Disagreement) as caught:
        import_float(*whole("tiny-llama"))
    assert caught.value.name == "model.layers.0.attention"


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.norm = nn.Linear(4, 4), nn.RMSNorm(4, eps=1e-3)

    def forward(self, x: Any) -> Any:
        return self.up(self.norm(self.up(x)))


def test_the_second_use_of_a_module_is_told_from_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    module, example = Twice(), (torch.zeros(1, 3, 4),)
    assert import_float(module, example).float_error < 1e-5
    right, calls = floats.linear, []

    def wrong(*arguments: Any) -> Any:
        calls.append(arguments)
        return right(*arguments) * (1 + (len(calls) % 2 == 0))

    monkeypatch.setattr(floats, "linear", wrong)
    with pytest.raises(Disagreement) as caught:
        import_float(module, example)
    assert caught.value.name == "up#1"


def test_a_module_that_cannot_run_in_float32_is_an_error() -> None:
    class Narrow(nn.Module):
        def forward(self, x: Any) -> Any:
            return x @ torch.zeros(4, 4, dtype=torch.float16)

    with pytest.raises(LutllmError, match=r"expected a module that runs in float32, got RuntimeError: .*; convert"):
        run_torch(Narrow(), [torch.zeros(3, 4)])
