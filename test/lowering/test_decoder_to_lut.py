"""The program of a decoder: three functions that agree, a KV cache that cannot be told from the whole text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lutllm import dialect, interpreter
from lutllm.bindings import ir
from lutllm.decoder import Decoder, QuantizedDecoder
from lutllm.decoder_store import save_decoder
from lutllm.errors import InputError, NumericsError
from lutllm.lowering.decoder_spec import DecoderSpec, difference, read_decoder_spec
from lutllm.lowering.decoder_to_lut import decoder_to_lut
from lutllm.lowering.levels import check_level
from lutllm.lowering.pipelines import to_steps
from lutllm.passes import run_pipeline
from lutllm.quantize.random_decoder import decoder_like, random_decoder
from lutllm.scheme import ADDITIVE, EXACT, PAPER

CONTEXT = 12
DECODERS: dict[str, Decoder] = {
    "llama": decoder_like(layers=2),
    "qwen3": decoder_like(layers=1, heads=3, kv_heads=1, head_dim=16, qk_norm=True),
    "one head": decoder_like(hidden=24, layers=1, heads=1, kv_heads=1, head_dim=24),
    "eight to one": decoder_like(hidden=32, layers=3, heads=8, kv_heads=1, head_dim=6),
}


class Program:
    """A random decoder and its program on the interpreter, with the KV cache between calls."""

    def __init__(self, quantized: QuantizedDecoder) -> None:
        self.quantized, self.store = quantized, quantized.tensors()
        self.module = decoder_to_lut(quantized, CONTEXT)
        self.reset()

    def reset(self) -> None:
        self.position = 0
        widths = [x.attention.kv_heads * x.attention.head_dim for x in self.quantized.decoder.layers for _ in range(2)]
        self.caches: list[np.ndarray] = [np.zeros((CONTEXT, width), np.int64) for width in widths]

    def run(self, function: str, ids: Sequence[int], position: int | None = None) -> list[np.ndarray]:
        """What a function returns before the caches."""
        at = self.position if position is None else position
        inputs = [np.array(ids), np.array([at]), *self.caches]
        *results, count = [*interpreter.run(self.module, inputs, self.store, function=function), len(self.caches)]
        self.caches, self.position = results[-count:], at + len(ids)
        return results[:-count]


@pytest.fixture(params=DECODERS, scope="module")
def program(request: pytest.FixtureRequest) -> Program:
    return Program(random_decoder(DECODERS[request.param], EXACT, 5, positions=16, bias=True))


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
    mixed = random_decoder(decoder_like(layers=1), lambda n: EXACT if "o_proj" in n else scheme, positions=16)  # type: ignore[arg-type,return-value]
    program = Program(mixed)
    token, logits = program.run("prefill", ids)
    run_pipeline(program.module, to_steps(""))
    check_level(program.module, "steps")
    program.reset()
    again = program.run("prefill", ids)
    assert np.array_equal(token, again[0])
    assert np.array_equal(logits, again[1])


def test_level_symbols_and_locations() -> None:
    module = decoder_to_lut(random_decoder(DECODERS["qwen3"], EXACT, positions=16))
    check_level(module, "lut")
    assert dialect.verify_symbols(module)
    names = {op.operation.location.name_str for op in dialect.lut_ops(module)}
    decoder = DECODERS["qwen3"]
    wanted = {decoder.embedding, *decoder.linears, *(norm.name for norm in decoder.norms)}
    assert wanted <= names
    assert names - wanted == {
        "exact2",
        "model.layers.0",
        "model.layers.0.mlp",
        "model.layers.0.self_attn",
        "model.layers.0.self_attn.q_proj.input",
        "model.layers.0.mlp.gate_proj.input",
        "lm_head.input",
    }
    declared = {op.operation.attributes["sym_name"].value for op in module.body}
    assert set(random_decoder(DECODERS["qwen3"], EXACT, positions=16).tensors()) == declared - {
        "exact2",
        "prefill",
        "decode",
        "score",
    }


def test_the_store_says_all_that_is_needed(tmp_path: Path) -> None:
    quantized = random_decoder(DECODERS["qwen3"], EXACT, positions=16)
    digest = save_decoder(tmp_path, quantized)
    spec = read_decoder_spec(tmp_path)
    assert spec == DecoderSpec.of(quantized, digest)
    module = decoder_to_lut(spec, 4)
    assert str(module.operation.attributes["lut.store"]) == f'#lut.store<"parameters.safetensors", "{digest}">'
    assert dialect.verify_store(module, tmp_path / "parameters.safetensors")


def test_same_bytes() -> None:
    texts = {decoder_to_lut(random_decoder(DECODERS["llama"], EXACT)).operation.get_asm() for _ in range(2)}
    assert len(texts) == 1
    with dialect.context(), ir.Location.unknown():
        assert dialect.verify(ir.Module.parse(texts.pop()))


@pytest.mark.parametrize("context", [17, -1])
def test_a_context_rope_does_not_reach(context: int) -> None:
    with pytest.raises(InputError, match=f"expected a context of 1..16 tokens.*got {context}"):
        decoder_to_lut(random_decoder(decoder_like(layers=1), EXACT, positions=16), context)


def test_a_part_without_parameters() -> None:
    quantized = random_decoder(decoder_like(layers=1), EXACT)
    del quantized.linears["model.layers.0.mlp.up_proj"]
    with pytest.raises(InputError, match=r"expected quantized parameters of 'model.layers.0.mlp.up_proj', got none"):
        decoder_to_lut(quantized)


def test_difference() -> None:
    one, other = decoder_like(layers=1), decoder_like(layers=1, kv_heads=4)
    assert difference(one, one) is None
    assert difference(one, other) == "expected layers.0.attention.kv_heads = 2, got 4"
    assert difference(one, decoder_like(layers=2)) == "expected layers.1.name = None, got model.layers.1"
    assert difference(one, decoder_like(layers=1, theta=5.0)) is not None
