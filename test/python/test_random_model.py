"""Random models: the same integers for the same seed, valid ones, of a size at which no op degenerates."""

import numpy as np
import pytest

from lutllm import dialect, interpreter
from lutllm.lowering.quantize.graph import FloatGraph
from lutllm.quantizer.linear.ranges import validate
from lutllm.quantizer.random.float_models import LayerShape, float_decoder, float_linear_norm_linear, float_mlp
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import ADDITIVE, EXACT, PAPER, Scheme
from lutllm.store import check_linear

SCHEMES = {"paper": PAPER, "additive": ADDITIVE, "exact": EXACT}
OWN, MLP = "model.layers.0.self_attn", "model.layers.0.mlp"


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_linears_are_valid_and_share_their_inputs(scheme: Scheme) -> None:
    made = random_model(float_decoder(layers=1, qk_norm=True), scheme, bias=True)
    for linear in made.linears.values():
        validate(check_linear(linear))
    for group in (
        [f"{OWN}.{part}_proj" for part in "qkv"],
        [f"{MLP}.{part}_proj" for part in ("gate", "up")],
    ):
        readers = [made.linears[name] for name in group]
        assert {r.input_name for r in readers} == {f"{group[0]}.input"}
        assert all(np.array_equal(r.exponents, readers[0].exponents) for r in readers)
        if scheme.kind == "vq":
            assert all(np.array_equal(r.codebook, readers[0].codebook) for r in readers)
    assert made.linears[f"{OWN}.q_proj"].bias.any() and not made.linears["lm_head"].bias.any()


def test_outputs_are_around_one() -> None:
    made = random_model(float_decoder(layers=1), EXACT)
    rng = np.random.default_rng(1)
    for linear in made.linears.values():
        x = rng.normal(0, 1, (16, 2 * linear.pairs)) / np.exp2(np.repeat(linear.exponents.astype(float), 2))
        y = interpreter.linear(linear, np.clip(np.rint(x), -(1 << 15), (1 << 15) - 1).astype(np.int64))
        assert 0.5 < (y * 2.0**linear.out_exponent).std() < 2


def test_few_values_saturate() -> None:
    """Of every op of every layer, so that a wrong one shows in the logits."""
    model = random_model(float_decoder(layers=[LayerShape(), LayerShape(head_dim=16, qk_norm=True)]), EXACT)
    seen = {}

    def trace(op, value):
        meaning = dialect.fixed_of(op.operation.results[0].type)
        if meaning is not None:
            high = (1 << (meaning[0] - 1)) - 1
            seen[len(seen)] = op.operation.name, float((np.abs(value) >= high).mean()), int(np.abs(value).max())

    ids = np.arange(12)
    caches = [np.zeros((16, op.keys.type.shape[1]), np.int64) for op in FloatGraph(model.module).of(
        dialect.FloatAttentionOp) for _ in range(2)]  # fmt: skip
    interpreter.run(model.lut(16), [ids, np.array([0]), *caches], model.tensors, function="score", trace=trace)
    for name, saturated, largest in seen.values():
        assert saturated < 0.02 and largest > 20, name


def test_same_seed_same_integers() -> None:
    first, again, other = (random_model(float_decoder(layers=1), EXACT, seed).tensors for seed in (3, 3, 4))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_a_scheme_for_each_linear() -> None:
    made = random_model(float_decoder(layers=1), lambda name: PAPER if ".mlp." in name else EXACT)
    assert made.linears["lm_head"].scheme == EXACT
    assert made.linears["model.layers.0.mlp.down_proj"].scheme == PAPER


def test_shapes_that_are_no_decoder() -> None:
    mlp = random_model(float_mlp(16, 24), EXACT)
    assert (
        not mlp.constants and not mlp.arrays and list(mlp.linears) == [f"mlp.{p}_proj" for p in ("gate", "up", "down")]
    )
    parts = random_model(float_linear_norm_linear(12, 8, 6), EXACT)
    assert list(parts.constants) == ["norm"] and list(parts.linears) == ["first", "second"]
    assert parts.positions == 0 and mlp.bits["embedding"] == 0


def test_the_float_level_is_valid() -> None:
    for module in (float_decoder(layers=[LayerShape(), LayerShape(heads=6, kv_heads=3)]), float_mlp()):
        assert dialect.verify(module)
