"""The integers of norms, embedding, attention and residual stream: what they mean is what the float model computes."""

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from lutllm import dialect  # noqa: E402
from lutllm.bindings import ir  # noqa: E402
from lutllm.errors import InputError  # noqa: E402
from lutllm.lowering.quantize.graph import FloatGraph, name_of  # noqa: E402
from lutllm.models import load  # noqa: E402
from lutllm.models.text import default_text, windows  # noqa: E402
from lutllm.quantization import NORM_BITS, RESIDUAL_BITS, AddConstants, NormConstants  # noqa: E402
from lutllm.quantized.pretrained import QuantizedModel  # noqa: E402
from lutllm.quantizer import quantize  # noqa: E402
from lutllm.quantizer.constants import (  # noqa: E402
    FromPeaks,
    check_parameters,
    quantize_attention,
    quantize_embedding,
    quantize_norm,
    rope_tables,
)
from lutllm.quantizer.observe.peaks import Peaks, Source, sources  # noqa: E402
from lutllm.quantizer.observe.simulated import simulated  # noqa: E402
from lutllm.quantizer.whole import structure_of  # noqa: E402
from lutllm.run.session import GoldenSession  # noqa: E402
from lutllm.scheme import EXACT  # noqa: E402


def olmo2():
    """Norms after attention and MLP, none before; norms of whole queries and keys."""
    sizes = {"vocab_size": 320, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512}
    config = transformers.Olmo2Config(**sizes, **heads, pad_token_id=None, eos_token_id=None)
    torch.manual_seed(0)
    module = transformers.Olmo2ForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(4 if parameter.ndim > 1 else torch.rand_like(parameter) + 0.5)
    return replace(load("tiny-llama"), name="olmo2", module=module, config=config)


@pytest.fixture(scope="module", params=["tiny-llama", "tiny-qwen3", "olmo2"])
def quantized(request):
    """(model, its float level, calibration windows, peaks, the whole of it in integers)"""
    model = olmo2() if request.param == "olmo2" else load(request.param, seed=3)
    structure = structure_of(model)
    graph = FloatGraph(structure.module)
    chosen = windows(model.tokenizer, default_text(), 64, 6)
    names = {"layers": graph.linears, "text": default_text(), "tokens": 512, "window": 64}
    linears = quantize(model, scheme=EXACT.with_(G=64), progress=False, **names).linears
    peaks = Peaks(graph)
    peaks.record(model.module, chosen[:4])
    found = FromPeaks(graph, linears, 512, structure.parameters, peaks).run()
    made = QuantizedModel(structure.module, found.constants, linears, found.arrays)
    return model, structure, chosen, peaks, made


def test_the_integer_program_follows_the_model_with_float_tables(quantized):
    model, _, chosen, _, made = quantized
    session = GoldenSession.of(made, 64)
    module = simulated(model.module, made.linears)
    for window in chosen[4:]:
        session.reset()
        got = session.forward(window, all_logits=True) * 2.0**session.logit_exponent
        with torch.no_grad():
            wanted = module(torch.from_numpy(window)[None], use_cache=False).logits[0].numpy()
        limit = 0.06 if model.name == "olmo2" else 0.03
        assert np.linalg.norm(got - wanted) < limit * np.linalg.norm(wanted), "most of it from 8-bit values"


def test_nothing_seen_in_calibration_leaves_its_width(quantized):
    _, structure, _, peaks, made = quantized
    adds = {name: c.exponent for name, c in made.constants.items() if isinstance(c, AddConstants)}
    assert list(peaks.adds) == list(adds) and len(adds) == 4
    for name, exponent in adds.items():
        assert peaks.adds[name] * 2 <= 2.0 ** (exponent + RESIDUAL_BITS - 1) < peaks.adds[name] * 8
    for name, norm in made.constants.items():
        if isinstance(norm, NormConstants):
            assert peaks.norms[name] <= 2.0 ** (norm.exponent + NORM_BITS - 1)
    for op in FloatGraph(structure.module).of(dialect.FloatAttentionOp):
        for part in ("key", "value"):
            exponents = made.arrays[f"{name_of(op)}.{part}.exponents"].astype(float)
            peak = peaks.channels[name_of(op), part].reshape(-1, 2).max(axis=1)
            assert (peak <= 127 * np.exp2(exponents)).all()


def test_peaks_of_keys_hold_for_every_rotation(quantized):
    """RoPE turns channels i and i + C/2 into each other: no position can make a key larger than its peak."""
    model, structure, chosen, _, _ = quantized
    graph = FloatGraph(structure.module)
    source = "model.layers.0.self_attn." + ("k_proj" if "llama" in model.name else "k_norm")
    kept = []
    handle = model.module.get_submodule(source).register_forward_hook(lambda _m, _i, out: kept.append(out))
    with torch.no_grad():
        model.module(torch.from_numpy(chosen[0])[None], use_cache=False)
    handle.remove()
    k = kept[0].reshape(64, model.config.num_key_value_heads, -1).numpy()
    half = k.shape[2] // 2
    peaks = Peaks(graph)
    peaks.record(model.module, chosen[:1])
    peak = peaks.channels["model.layers.0.self_attn", "key"]
    for angle in np.linspace(0, 2 * np.pi, 40):
        rotated = k[..., :half] * np.cos(angle) - k[..., half:] * np.sin(angle)
        assert (np.abs(rotated).max(axis=0) <= peak[:, :half] * 1.0001).all()


SUMS = """
ml_program.global private @w(#ml_program.extern : tensor<4x4xf32>) : tensor<4x4xf32>
ml_program.global private @g(#ml_program.extern : tensor<4xf32>) : tensor<4xf32>
func.func @forward(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %0 = "lut.float_linear"(%x) {name = "a", weight = @w} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %1 = "lut.float_linear"(%x) {name = "b", weight = @w} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %2 = "lut.float_add"(%0, %1) {name = "inner"} : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %3 = "lut.float_add"(%2, %0) {name = "outer"} : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %4 = "lut.float_linear"(%3) {name = "c", weight = @w} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %4 : tensor<?x4xf32>
}"""


class Sums(torch.nn.Module):
    """As `SUMS`; its last linear is not needed to see all."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (torch.nn.Linear(4, 4, bias=False) for _ in "abc")

    def forward(self, x):
        a = self.a(x)
        return self.c(a + self.b(x) + a)


def test_sums_are_seen_where_a_module_reads_them_or_by_their_terms():
    with dialect.context():
        module = ir.Module.parse(SUMS)
    graph = FloatGraph(module)
    inner, outer = (op.y for op in graph.of(dialect.FloatAddOp))
    assert sources(graph, inner) == [Source("a", True), Source("b", True)]
    assert sources(graph, outer) == [Source("c", False)]
    model, peaks = Sums(), Peaks(graph)
    given = [np.random.default_rng(i).normal(size=(5, 4)).astype(np.float32) for i in range(3)]
    peaks.record(model, given)
    with torch.no_grad():
        x = torch.from_numpy(np.concatenate(given))
        a, b = model.a(x), model.b(x)
    np.testing.assert_allclose(peaks.adds["inner"], (a + b).abs().max(), rtol=1e-6)
    np.testing.assert_allclose(peaks.adds["outer"], (a + b + a).abs().max(), rtol=1e-6)


def test_what_no_module_shows_is_refused():
    text = SUMS.replace(
        '"lut.float_linear"(%3) {name = "c", weight = @w} : (', '"lut.float_gated"(%3, %0) {name = "c", '
    )
    text = text.replace('name = "c", tensor', 'name = "c", activation = "silu"} : (tensor<?x4xf32>, tensor')
    text = text.replace('"lut.float_add"(%2, %0)', '"lut.float_add"(%2, %x)')
    with dialect.context():
        graph = FloatGraph(ir.Module.parse(text))
    assert sources(graph, graph.of(dialect.FloatAddOp)[1].y)[-1] == Source("a", False)
    with pytest.raises(InputError, match=r"expected a module that makes or reads the result of 'lut.float_gated'"):
        sources(graph, graph.results[0])
    with pytest.raises(InputError, match=r"'a': expected a module of this path that is called once, got none"):
        Peaks(graph).record(torch.nn.Linear(4, 4), [])


def test_a_norm_s_gain_means_its_weight():
    weight = np.random.default_rng(0).normal(1, 0.3, 24)
    norm, arrays = quantize_norm(24, 1e-5, weight, peak=3.0, exponent=-13)
    gain = arrays["gain"]
    wanted = math.sqrt(24) * weight * 2.0 ** (-22 - norm.exponent)
    np.testing.assert_allclose(gain * 2.0**-norm.gain_shift, wanted, rtol=1e-5)
    assert np.abs(gain).max() < 1 << 23 and gain.dtype == np.int32
    assert norm.epsilon == round(24 * 1e-5 * 2**26)
    largest = math.sqrt(24) * np.abs(weight).max()
    assert largest <= 2.0 ** (norm.exponent + NORM_BITS - 1), "an output can never be larger: no more room is left"


def test_a_norm_without_weights_is_nothing():
    norm, arrays = quantize_norm(8, 1e-5, np.zeros(8), peak=0.0, exponent=-10)
    assert not arrays["gain"].any() and 0 <= norm.gain_shift <= 47


def test_an_embedding_has_a_scale_a_token():
    weight = np.random.default_rng(0).normal(size=(50, 16)) * np.exp2(np.linspace(-6, 0, 50))[:, None]
    weight[7] = 0
    e, arrays = quantize_embedding(weight.astype(np.float32))
    rows, multiplier = arrays["rows"], arrays["multiplier"]
    got = rows * multiplier[:, None] * 2.0 ** (e.exponent - e.shift)
    error = np.abs(got - weight).max(axis=1)
    assert (error <= np.abs(weight).max(axis=1) / 127 * 0.52 + 2.0**e.exponent * 64).all()
    assert np.abs(rows).max() == 127 and multiplier.min() >= 1 and multiplier.max() < 1 << 15


def test_scores_of_a_head_have_one_exponent():
    rng = np.random.default_rng(0)
    query, key, value = (np.exp2(rng.uniform(-4, 6, (heads, 8))) for heads in (4, 2, 2))
    query[3] *= 2.0**-12  # a quiet head is made coarser, so that its multiplier keeps its bits
    constants, q = quantize_attention("attn", 8**-0.5, query, key, value)
    queries, keys = q["query.exponents"].reshape(4, 4).astype(int), q["key.exponents"].reshape(2, 4).astype(int)
    sums = queries + np.repeat(keys, 2, axis=0)
    assert (np.ptp(sums, axis=1) == 0).all()
    unit = np.exp2(sums[:, 0] + 16.0) / math.sqrt(8) / math.log(2)
    np.testing.assert_allclose(q["multiplier"] * 2.0**-constants.shift, unit, rtol=1e-3)
    assert 1 << 13 < q["multiplier"].max() < 1 << 15
    assert (query.reshape(4, 4, 2).max(axis=2) * 2 <= 32767 * np.exp2(queries)).all()
    assert (key.reshape(2, 4, 2).max(axis=2) <= 127 * np.exp2(keys)).all()


def test_scores_too_coarse_are_refused():
    loud = np.full((4, 8), 2.0**40)
    with pytest.raises(
        InputError, match=r"'attn': expected scores whose steps lie .* check the weights of its queries"
    ):
        quantize_attention("attn", 8**-0.5, loud, loud[:2], loud[:2])


def test_rope_tables_are_rounded_halves_up():
    frequencies = 1e4 ** (-np.arange(6) / 6)
    made = rope_tables("rope", frequencies, 1.0, 100)
    cosines, sines = made["rope.cosines"], made["rope.sines"]
    angle = 57 * frequencies[2]
    assert cosines.shape == sines.shape == (100, 6) and cosines.dtype == np.int16
    assert cosines[0].tolist() == [1 << 14] * 6 and not sines[0].any()
    assert cosines[57, 2] == math.floor(math.cos(angle) * 2**14 + 0.5)
    assert sines[57, 2] == math.floor(math.sin(angle) * 2**14 + 0.5)


def test_a_scale_of_rope_that_leaves_16_bits_is_refused():
    with pytest.raises(InputError, match=r"RoPE: expected cosines and sines below 2, got a scale of 2.5"):
        rope_tables("rope", np.ones(2), 2.5, 4)


def test_weights_that_are_no_numbers_are_named(quantized):
    _, structure, _, _, _ = quantized
    broken = dict(structure.parameters)
    name = "model.layers.1.post_attention_layernorm.weight"
    broken[name] = torch.full_like(broken[name], float("nan"))
    with pytest.raises(InputError, match=f"'{name}': expected finite values, got nan"):
        check_parameters(FloatGraph(structure.module), broken)
