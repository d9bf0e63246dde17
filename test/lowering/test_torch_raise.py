"""Raising by op: a graph of known parts becomes float ops that compute the same; the rest is refused, all of it."""

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from torch import nn  # noqa: E402

from lutllm import dialect, models  # noqa: E402
from lutllm.bindings import ir  # noqa: E402
from lutllm.importer import ImportedModule, import_module  # noqa: E402
from lutllm.importer.agreement import FloatModel, import_float, raise_to_float  # noqa: E402
from lutllm.lowering.levels import check_level  # noqa: E402
from lutllm.lowering.raising.reader import DOWNSTREAM  # noqa: E402
from lutllm.lowering.raising.torch_raise import read_model  # noqa: E402
from lutllm.models.hf import empty_module, make_config  # noqa: E402
from lutllm.models.random_weights import _fill  # noqa: E402
from lutllm.models.wrappers import whole_model  # noqa: E402
from lutllm.passes import PipelineError  # noqa: E402

T, D = 5, 8
BASE: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}


def model(kind: str = "llama", attention: str = "eager", dtype: Any = None, **changes: Any) -> Any:
    module = empty_module(make_config({"model_type": kind, **BASE, **changes}, "test"), "test", dtype)
    module.set_attn_implementation(attention)
    for name, parameter in module.named_parameters():
        _fill(parameter, name, 0, torch)
    return module


def raised(module: Any, example: tuple[Any, ...] = (torch.zeros(1, T, D),)) -> FloatModel:
    """The module at the float level; computing what PyTorch does is checked by the import."""
    found = import_float(module, example)
    check_level(found.module, "float")
    assert found.float_error < 1e-5
    return found


def ops(found: ImportedModule) -> list[str]:
    return [
        f"{op._op_name.removeprefix('float_')} {op.attributes['name'].value}" for op in dialect.lut_ops(found.module)
    ]


# kind, attention, changes: GQA ratios 1, 2, 3, 8; tied and untied; biases; bfloat16; several layers
MODELS = [
    ("llama", "sdpa", {"num_key_value_heads": 4, "num_hidden_layers": 3}),
    ("llama", "eager", {"num_attention_heads": 3, "num_key_value_heads": 1, "tie_word_embeddings": False}),
    ("llama", "sdpa", {"num_attention_heads": 6, "head_dim": 4, "attention_bias": True}),
    ("llama", "sdpa", {"num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 24, "mlp_bias": True}),
    ("qwen3", "eager", {"num_attention_heads": 8, "num_key_value_heads": 1, "tie_word_embeddings": False}),
    ("qwen3", "sdpa", {"num_key_value_heads": 4, "head_dim": 2, "dtype": torch.bfloat16}),
]


@pytest.mark.parametrize(("kind", "attention", "changes"), MODELS)
def test_decoders_of_every_shape(kind: str, attention: str, changes: dict[str, Any]) -> None:
    values = {**BASE, **changes}
    found = raised(*whole_model(model(kind, attention, **changes), T))
    names = ops(found)
    assert len(names) == 3 + values["num_hidden_layers"] * (15 if kind == "llama" else 17)
    for name in ("attention model.layers.0.self_attn", "add model.layers.0.attention", "add model.layers.0.mlp"):
        assert name in names
    attended = next(op for op in dialect.lut_ops(found.module) if isinstance(op, dialect.FloatAttentionOp))
    heads = values["num_attention_heads"], values["num_key_value_heads"]
    assert (attended.heads.value, attended.kv_heads.value) == heads
    assert attended.scale.value == pytest.approx(values["head_dim"] ** -0.5)
    biases = sum("bias" in op.attributes for op in dialect.lut_ops(found.module))
    assert biases == 4 * bool(changes.get("attention_bias")) + 3 * bool(changes.get("mlp_bias"))


def test_scaled_rope() -> None:
    scaling = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
    found = raised(*whole_model(model(rope_parameters=scaling), T))
    ropes = [op for op in dialect.lut_ops(found.module) if isinstance(op, dialect.FloatRopeOp)]
    assert [op.scale.value for op in ropes] == pytest.approx([1.1386, 1.1386], abs=1e-4)


def test_smollm2() -> None:
    try:
        loaded = models.load("smollm2-135m", layers=1)
    except Exception as error:
        pytest.skip(f"needs the weights of SmolLM2, got {error}; run `make demo` once")
    attended = [op for op in dialect.lut_ops(raised(*whole_model(loaded.module)).module) if "heads" in op.attributes]
    assert [op.heads.value for op in attended] == [9, 3, 9]


class Mlp(nn.Module):
    def __init__(self, inner: int = 12) -> None:
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(D, inner), nn.Linear(D, inner), nn.Linear(inner, D, bias=False)

    def forward(self, x: Any) -> Any:
        return self.down(nn.functional.silu(self.gate(x)) * self.up(x))


@pytest.mark.parametrize("shape", [(1, T, D), (T, D)])
def test_an_mlp_alone(shape: tuple[int, ...]) -> None:
    found = raised(Mlp(), (torch.zeros(shape),))
    assert ops(found) == ["linear gate", "linear up", "gated gated", "linear down"]
    assert "func.func @forward(%arg0: tensor<?x8xf32>) -> tensor<?x8xf32>" in str(found.module)


def test_linear_norm_linear() -> None:
    module = nn.Sequential(nn.Linear(D, 6), nn.RMSNorm(6, eps=1e-3), nn.Linear(6, 4))
    nn.init.normal_(module[1].weight)
    assert ops(raised(module)) == ["linear 0", "norm 1", "linear 2"]


class Odd(nn.Module):
    """Sums, gates, norms and linears of values of every kind; a linear used twice; two inputs, two results."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.twice, self.mlp = nn.RMSNorm(D, eps=1e-5), nn.Linear(D, D), Mlp(10)

    def forward(self, x: Any, y: Any) -> Any:
        both = x + y
        gated = nn.functional.silu(self.norm(both)) * y
        return self.twice(self.twice(gated) + self.mlp(gated)), self.norm(gated) + gated


def test_values_of_every_kind_where_another_stands_in_a_decoder() -> None:
    found = raised(Odd(), (torch.zeros(1, T, D), torch.zeros(1, T, D)))
    names = ops(found)
    assert names[:4] == ["add input", "norm norm", "gated gated", "linear twice"]
    assert names[-4:] == ["add mlp", "linear twice#1", "norm norm#1", "add gated#1"]
    assert len({name.split()[1] for name in names}) == len(names)


class Branches(nn.Module):
    """Two linears' sum on top of what both read, in one order or the other."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.last, self.norm, self.a, self.b = last, nn.RMSNorm(D, eps=1e-5), nn.Linear(D, D), nn.Linear(D, D)

    def forward(self, x: Any) -> Any:
        both = self.b(self.norm(x)) + self.a(self.norm(x))
        return x + both if self.last else both + x


@pytest.mark.parametrize("last", [False, True])
def test_branches_of_a_layer_are_added_one_after_the_other(last: bool) -> None:
    found = raised(Branches(last))
    adds = [op for op in dialect.lut_ops(found.module) if isinstance(op, dialect.FloatAddOp)]
    assert isinstance(adds[0].a.owner, ir.Block) and adds[1].a == adds[0].y
    assert [op.b.owner.opview.attributes["name"].value for op in adds] == ["b", "a"]


class Turned(nn.Module):
    """Attention with a RoPE of its own, as wide as it likes."""

    def __init__(self, heads: int, kv_heads: int, head_dim: int, base: float) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.q, self.k, self.v = (nn.Linear(D, n * head_dim) for n in (heads, kv_heads, kv_heads))
        self.o = nn.Linear(heads * head_dim, D)
        self.register_buffer("frequencies", base ** -(torch.arange(0, head_dim, 2) / head_dim))

    def forward(self, x: Any, positions: Any) -> Any:
        angles = positions[..., None].float() * self.frequencies
        cos, sin = (f(torch.cat((angles, angles), dim=-1))[:, None] for f in (torch.cos, torch.sin))
        q, k, v = (part(x).view(1, x.shape[1], -1, self.head_dim).transpose(1, 2) for part in (self.q, self.k, self.v))
        q, k = (value * cos + self.half_turned(value) * sin for value in (q, k))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.o(y.transpose(1, 2).flatten(2))

    def half_turned(self, x: Any) -> Any:
        half = self.head_dim // 2
        return torch.cat((-x[..., half:], x[..., :half]), dim=-1)


class Unlike(nn.Module):
    """A decoder with layers of different shape, each with frequencies of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(20, D), nn.RMSNorm(D, eps=1e-5)
        self.attention = nn.ModuleList([Turned(4, 2, 4, 1e2), Turned(2, 1, 6, 1e4)])
        self.mlp = nn.ModuleList([Mlp(12), Mlp(6)])
        self.head = nn.Linear(D, 20)

    def forward(self, ids: Any, positions: Any) -> Any:
        x = self.embed(ids)
        for attention, mlp in zip(self.attention, self.mlp, strict=True):
            x = x + attention(self.norm(x), positions)
            x = x + mlp(x)
        return self.head(x)


def test_layers_unlike_each_other() -> None:
    found = raised(Unlike(), (torch.zeros(1, T, dtype=torch.long), torch.arange(T)[None] + 3))
    ropes = [op for op in dialect.lut_ops(found.module) if isinstance(op, dialect.FloatRopeOp)]
    symbols = [f"attention.{i}.frequencies" for i in (0, 0, 1, 1)]
    assert [(op.frequencies.value, op.heads.value) for op in ropes] == list(zip(symbols, (4, 2, 2, 1), strict=True))
    assert "@forward(%arg0: tensor<?xi32>, %arg1: tensor<1xi32>) -> tensor<?x20xf32>" in str(found.module)


def foreign(name: str, **changes: Any) -> Any:
    """A model of transformers that lutllm does not load, with biases and norms that are not their initial ones."""
    config = getattr(transformers, f"{name}Config")(**{**BASE, "pad_token_id": 0, **changes})
    module = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    for parameter_name, parameter in module.named_parameters():
        _fill(parameter, parameter_name, 0, torch)
    return module


WINDOW = {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}
RAISED: dict[str, Callable[[], Any]] = {
    "qwen2": lambda: foreign("Qwen2", head_dim=6),
    "plain mlp": lambda: swapped(
        "model.layers.0.mlp",
        nn.Sequential(nn.Linear(24, 40), nn.ReLU(), nn.Linear(40, 24), nn.GELU(), nn.Linear(24, 24)),
    ),
    "window of one layer, eager": lambda: model("qwen3", **WINDOW),
    "window of one layer, sdpa": lambda: model("qwen3", "sdpa", **WINDOW),
    "layer norm": lambda: swapped("model.layers.0.input_layernorm", nn.LayerNorm(24)),
    "partial RoPE": lambda: foreign("StableLm", hidden_size=32, partial_rotary_factor=0.25),
    "soft-caps": lambda: foreign("Gemma2", head_dim=6, attn_logit_softcapping=2.0, final_logit_softcapping=3.0),
    "multipliers": lambda: foreign("Granite", embedding_multiplier=2.0, residual_multiplier=0.5, logits_scaling=3.0),
}


@pytest.mark.parametrize("what", RAISED)
def test_models_raised_by_their_ops(what: str) -> None:
    raised(*whole_model(RAISED[what](), T))


def swapped(path: str, part: Any) -> Any:
    """A Llama with another part in one place."""
    module = model()
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, part)
    return module


class ScaledUp(nn.Module):
    def forward(self, x: Any) -> Any:
        return nn.functional.silu(x) * 2.0


# model, first op, its module, part of what was expected
REFUSED: dict[str, tuple[Callable[[], Any], str, str, str]] = {
    "sigmoid": (lambda: model(hidden_act="sigmoid"), "sigmoid", "model.layers.0.mlp.act_fn", "got another"),
    "scaled activation": (
        lambda: swapped("model.layers.0.mlp.act_fn", ScaledUp()),
        "mul.Scalar",
        "model.layers.0.mlp.act_fn",
        "a linear or an embedding times a number",
    ),
    "norm of a part": (
        lambda: swapped("model.layers.0.input_layernorm", nn.LayerNorm(24, elementwise_affine=False)),
        "layer_norm",
        "model.layers.0.input_layernorm",
        "a gain, and a bias if any, that are parameters",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(what: str) -> None:
    make, op, module, expected = REFUSED[what]
    found = import_module(*whole_model(make(), T))
    _, reader = read_model(found.module)
    roots = [u for u in reader.unmatched if u.expected != DOWNSTREAM]
    match = [u for u in roots if u.op == f"torch.aten.{op}" and u.module == module]
    assert match and expected in match[0].expected, roots
    assert match[0].location


def test_one_error_names_op_module_place_and_the_count_and_nothing_changes() -> None:
    found = import_module(*whole_model(model(hidden_act="sigmoid", num_hidden_layers=3), T))
    before = str(found.module)
    with pytest.raises(PipelineError) as error:
        raise_to_float(found.module)
    text = str(error.value)
    assert "llama/modeling_llama.py:" in text.split(": error: ")[0]
    first = "'torch.aten.sigmoid' op in 'model.layers.0.mlp.act_fn': expected an activation among silu"
    assert f"error: 6 ops cannot be raised: {first}" in text
    assert "'torch.aten.sigmoid' op in 'model.layers.1.mlp.act_fn' (" in text
    assert text.endswith("and 3 more; `lutllm check` lists them all")
    assert str(found.module) == before


def test_text_gives_what_the_import_gives() -> None:
    imported = import_module(*whole_model(model(), T))
    with imported.context:
        again = ir.Module.parse(imported.text())
    for module in (imported.module, again):
        raise_to_float(module)
    assert str(again) == str(imported.module)
