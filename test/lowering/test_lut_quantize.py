"""Programs made of the float level: functions that agree, a KV cache that cannot be told from the whole text.

Also graphs that no template holds.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lutllm import dialect, interpreter
from lutllm.bindings import ir
from lutllm.errors import InputError, IRError, NumericsError
from lutllm.lowering import PASSES
from lutllm.lowering.levels import check_level
from lutllm.lowering.quantize import forms
from lutllm.lowering.quantize.graph import FloatGraph
from lutllm.numerics import quantize
from lutllm.passes import run_pipeline
from lutllm.quantized.pretrained import FLOAT, QuantizedModel, save_pretrained
from lutllm.quantizer.random.float_models import LayerShape, float_decoder, float_linear_norm_linear, float_mlp
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import ADDITIVE, EXACT, PAPER

CONTEXT = 12
UNLIKE = [LayerShape(), LayerShape(intermediate=40, heads=3, kv_heads=1, head_dim=16, qk_norm=True)]
DECODERS = {
    "llama": {"layers": 2},
    "qwen3": {"layers": 1, "heads": 3, "kv_heads": 1, "head_dim": 16, "qk_norm": True},
    "one head": {"hidden": 24, "layers": 1, "heads": 1, "kv_heads": 1, "head_dim": 24},
    "eight to one": {"hidden": 32, "layers": 3, "heads": 8, "kv_heads": 1, "head_dim": 6},
    "layers unlike each other": {"layers": UNLIKE},
}


class Program:
    """A random model and its program on the interpreter, with the KV cache between calls."""

    def __init__(self, model: QuantizedModel) -> None:
        self.store, self.module = model.tensors, model.lut(CONTEXT)
        attentions = FloatGraph(model.module).of(dialect.FloatAttentionOp)
        self.widths = [op.keys.type.shape[1] for op in attentions for _ in range(2)]
        self.reset()

    def reset(self) -> None:
        self.position = 0
        self.caches: list[np.ndarray] = [np.zeros((CONTEXT, width), np.int64) for width in self.widths]

    def run(self, function: str, ids: Sequence[int], position: int | None = None) -> list[np.ndarray]:
        """What a function returns before the caches."""
        at = self.position if position is None else position
        inputs = [np.array(ids), np.array([at]), *self.caches]
        *results, count = [*interpreter.run(self.module, inputs, self.store, function=function), len(self.caches)]
        self.caches, self.position = results[-count:], at + len(ids)
        return results[:-count]


@pytest.fixture(params=DECODERS, scope="module")
def program(request: pytest.FixtureRequest) -> Program:
    return Program(random_model(float_decoder(**DECODERS[request.param]), EXACT, 5, positions=16, bias=True))


@pytest.fixture
def ids() -> list[int]:
    return np.random.default_rng(2).integers(0, 320, 9).tolist()


def test_prefill_then_decode_is_prefill_of_all(program: Program, ids: list[int]) -> None:
    program.reset()
    token, logits = program.run("prefill", ids)
    whole = program.caches
    for parts in ([4, 5, 6, 7, 8, 9], [1, 9], [5, 6, 9]):
        program.reset()
        last, start = None, 0
        for end in parts:
            last = program.run("decode" if end - start == 1 else "prefill", ids[start:end])
            start = end
        assert last is not None
        assert np.array_equal(last[0], token)
        assert np.array_equal(last[1], logits)
        assert all(np.array_equal(a, b) for a, b in zip(program.caches, whole, strict=True))


def test_score_is_prefill_of_every_prefix(program: Program, ids: list[int]) -> None:
    program.reset()
    (scores,) = program.run("score", ids)
    assert scores.shape == (len(ids), 320)
    for n in (1, 4, len(ids)):
        program.reset()
        token, logits = program.run("prefill", ids[:n])
        assert np.array_equal(logits[0], scores[n - 1])
        assert token[0] == scores[n - 1].argmax()


def test_logits_depend_on_token_order_and_position(program: Program, ids: list[int]) -> None:
    def logits(tokens: list[int]) -> np.ndarray:
        program.reset()
        return program.run("prefill", tokens)[1]

    assert not np.array_equal(logits(ids), logits([*ids[:-1], (ids[-1] + 1) % 320]))
    assert not np.array_equal(logits(ids), logits([*ids[1::-1], *ids[2:]]))


def test_a_full_cache_and_a_wrong_position(program: Program, ids: list[int]) -> None:
    program.reset()
    program.run("prefill", ids)
    program.run("prefill", ids[: CONTEXT - len(ids)])
    with pytest.raises(NumericsError, match=f"cache full: expected positions in 0..{CONTEXT - 1}, got {CONTEXT}"):
        program.run("decode", ids[:1])
    with pytest.raises(NumericsError, match=r"expected positions in 0..15, got -1..-1"):
        program.run("decode", ids[:1], position=-1)
    with pytest.raises(NumericsError, match=r"expected token ids in 0..319, got 320..320"):
        program.run("decode", [320], position=0)


@pytest.mark.parametrize("scheme", [PAPER.with_(G=16), ADDITIVE], ids=["paper", "additive"])
def test_every_scheme_and_mixed_ones(scheme: object, ids: list[int]) -> None:
    mixed = random_model(float_decoder(layers=1), lambda n: EXACT if "o_proj" in n else scheme, positions=16)  # type: ignore[arg-type,return-value]
    program = Program(mixed)
    token, logits = program.run("prefill", ids)
    run_pipeline(program.module, "builtin.module(lut-decompose,lut-canonicalize,lut-symbol-dce)")
    check_level(program.module, "steps")
    program.reset()
    again = program.run("prefill", ids)
    assert np.array_equal(token, again[0])
    assert np.array_equal(logits, again[1])


def test_an_mlp_alone_computes_what_its_parts_do() -> None:
    model = random_model(float_mlp(16, 24), EXACT, 3)
    x = np.random.default_rng(0).normal(0, 1, (5, 16))
    gate, up, down = (model.linears[f"mlp.{part}_proj"] for part in ("gate", "up", "down"))
    integers = quantize(x, np.repeat(gate.exponents.astype(np.int64), 2), 16)
    (y,) = interpreter.run(model.lut(), [integers], model.tensors, function="forward")
    g, u = (interpreter.linear(q, integers) * 2.0**q.out_exponent for q in (gate, up))
    inner = quantize(g / (1 + np.exp(-g)) * u, np.repeat(down.exponents.astype(np.int64), 2), 16)
    wanted = interpreter.linear(down, inner)
    assert np.abs(y - wanted).max() < 1e-3 * np.abs(wanted).max(), "sigmoid by table"


def test_a_linear_a_norm_and_a_linear() -> None:
    model = random_model(float_linear_norm_linear(12, 8, 6), EXACT, 3)
    first, second = model.linears.values()
    x = np.random.default_rng(0).integers(-(1 << 14), 1 << 14, (4, 12))
    (y,) = interpreter.run(model.lut(), [x], model.tensors, function="forward")
    h = interpreter.linear(first, x) * 2.0**first.out_exponent
    constants = model.constants["norm"]
    gain = model.arrays["norm.gain"] * 2.0 ** (22 + constants.exponent - constants.gain_shift) / np.sqrt(8)
    normed = h / np.sqrt(1e-6 + np.mean(h**2, axis=1, keepdims=True)) * gain
    wanted = interpreter.linear(second, quantize(normed, np.repeat(second.exponents.astype(np.int64), 2), 16))
    assert np.abs(y - wanted).max() < 5e-3 * np.abs(wanted).max(), "an input that rounds otherwise"


def test_tables_of_ropes_unlike_each_other() -> None:
    model = random_model(float_decoder(layers=UNLIKE), EXACT, positions=16)
    assert model.arrays["rope.cosines"].shape == (16, 6) and model.arrays["rope.1.sines"].shape == (16, 8)
    ropes = [op for op in dialect.lut_ops(model.lut(4)) if isinstance(op, dialect.RopeOp)]
    assert [op.cosines.value for op in ropes[:4]] == ["rope.cosines"] * 2 + ["rope.1.cosines"] * 2


def test_level_symbols_and_locations() -> None:
    model = random_model(float_decoder(**DECODERS["qwen3"]), EXACT, positions=16)
    module = model.lut()
    check_level(module, "lut")
    assert dialect.verify_symbols(module)
    ops = [op for op in dialect.lut_ops(module) if not isinstance(op, dialect.SchemeOp)]
    names = {op.operation.location.name_str for op in ops}
    norms = {op.attributes["name"].value for op in FloatGraph(model.module).of(dialect.FloatNormOp)}
    wanted = {"model.embed_tokens", *model.linears, *norms}
    assert wanted <= names
    assert names - wanted == {
        "model.layers.0",
        "model.layers.0.mlp",
        "model.layers.0.self_attn",
        "model.layers.0.self_attn.q_proj.input",
        "model.layers.0.mlp.gate_proj.input",
        "lm_head.input",
    }
    declared = {op.operation.attributes["sym_name"].value for op in module.body}
    assert set(model.tensors) == declared - {"exact2", "prefill", "decode", "score"}


def test_the_files_say_all_that_is_needed(tmp_path: Path) -> None:
    model = random_model(float_decoder(**DECODERS["qwen3"]), EXACT, positions=16)
    save_pretrained(model, tmp_path)
    with dialect.context() as context:
        module = ir.Module.parseFile(str(tmp_path / FLOAT), context)
    run_pipeline(module, f"builtin.module(lut-quantize{{quantization={tmp_path} context=4}})", passes=PASSES)
    check_level(module, "lut")
    assert dialect.verify_store(module, tmp_path / "parameters.safetensors")
    stored = module.operation.attributes["lut.store"]
    del module.operation.attributes["lut.store"]
    assert str(stored).startswith('#lut.store<"parameters.safetensors", "')
    assert module.operation.get_asm() == model.lut(4).operation.get_asm()


def test_same_bytes() -> None:
    texts = {random_model(float_decoder(), EXACT).lut().operation.get_asm() for _ in range(2)}
    assert len(texts) == 1
    with dialect.context(), ir.Location.unknown():
        assert dialect.verify(ir.Module.parse(texts.pop()))


@pytest.mark.parametrize("context", [17, -1])
def test_a_context_rope_does_not_reach(context: int) -> None:
    model = random_model(float_decoder(layers=1), EXACT, positions=16)
    with pytest.raises(InputError, match=f"expected a context of 1..16 tokens.*got {context}"):
        model.lut(context)


def test_an_op_without_constants() -> None:
    model = random_model(float_decoder(layers=1), EXACT)
    for name, found in (("model.layers.0.mlp.up_proj", model.linears), ("model.layers.0.mlp", model.constants)):
        kept = found.pop(name)
        with pytest.raises(
            IRError, match=f"op expected quantized parameters of '{name}', got none; quantize the whole"
        ):
            model.lut()
        found[name] = kept
    model.constants["model.norm"] = model.constants["model.layers.0.mlp"]
    with pytest.raises(IRError, match=r"'lut.float_norm' op expected quantized parameters of 'model.norm', got none"):
        model.lut()


def test_linears_that_read_one_value_at_different_exponents() -> None:
    model = random_model(float_mlp(), EXACT)
    model.linears["mlp.up_proj"] = replace(model.linears["mlp.up_proj"], input_name="other")
    with pytest.raises(IRError, match=r"of 16 bits at @mlp.gate_proj.input.exponents, as another .* @other.exponents;"):
        model.lut()


def test_a_kind_without_integer_form_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kind of today is without; a later one will be."""
    monkeypatch.setattr(forms, "NORMS", ("layer",))
    monkeypatch.setattr(forms, "SHARES", {"gelu": None})
    model = random_model(float_decoder(layers=1), EXACT)
    found = forms.problems(FloatGraph(model.module))
    assert [problem.op.operation.name for problem in found].count("lut.float_norm") == 3
    assert {problem.message for problem in found} == {
        "expected kind with an integer form (layer), got 'rms'; change the model",
        "expected activation with an integer form (gelu), got 'silu'; change the model",
    }
    with pytest.raises(IRError, match=r"'lut.float_norm' op expected kind with an integer form .*; and 3 more"):
        model.lut()
