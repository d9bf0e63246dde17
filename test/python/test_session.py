"""Sessions: machine code against the interpreter on whole random decoders, chunks, limits, errors."""

from typing import Any

import numpy as np
import pytest

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.cpu.features import available_levels
from lutllm.errors import InputError, IRError
from lutllm.quantized.pretrained import QuantizedModel
from lutllm.quantizer.random.float_models import LayerShape, float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.run.session import CpuSession, GoldenSession, Session, open_session
from lutllm.scheme import ADDITIVE, EXACT, PAPER, Scheme

CONTEXT = 80
UNLIKE = [LayerShape(head_dim=16), LayerShape(intermediate=40, heads=3, kv_heads=1, head_dim=8, qk_norm=True)]
DECODERS: dict[str, tuple[dict[str, Any], Scheme]] = {
    "llama, exact": ({}, EXACT.with_(G=64)),
    "llama, R1, one key head": ({"heads": 3, "kv_heads": 1, "head_dim": 32}, EXACT.with_(R=1)),
    "qwen3, additive": (
        {"layers": 1, "heads": 6, "kv_heads": 2, "head_dim": 16, "qk_norm": True},
        ADDITIVE.with_(G=32),
    ),
    "qwen3, paper": ({"hidden": 32, "heads": 2, "kv_heads": 2, "head_dim": 8, "qk_norm": True}, PAPER),
    "layers unlike each other": ({"layers": UNLIKE}, EXACT),
}


def _decoder(name: str) -> QuantizedModel:
    sizes, scheme = DECODERS[name]
    return random_model(float_decoder(**sizes), scheme, 7, positions=CONTEXT, bias=True)


def _text(session: Session) -> list[np.ndarray]:
    """Every way to read tokens, and what comes of it: one token, some, more than a chunk, decoding, scoring."""
    ids = np.random.default_rng(3).integers(0, session.vocabulary, CONTEXT)
    found = [session.forward(ids[:1]), session.forward(ids[1:8]), session.forward(ids[8:10], all_logits=True)]
    session.reset()
    found += [session.forward(ids[:70]), session.forward(ids[70:71]), session.forward(ids[71:72])]
    session.reset()
    return [*found, session.forward(ids[:66], all_logits=True), session.forward(ids[66:])]


@pytest.fixture(scope="module", params=DECODERS)
def golden(request: pytest.FixtureRequest) -> tuple[QuantizedModel, list[np.ndarray]]:
    decoder = _decoder(request.param)
    return decoder, _text(GoldenSession.of(decoder))


@pytest.mark.parametrize(("level", "threads"), [*((level, 2) for level in available_levels()), (None, 1)])
def test_machine_code_equals_the_interpreter(
    golden: tuple[QuantizedModel, list[np.ndarray]], level: str | None, threads: int
) -> None:
    decoder, want = golden
    got = _text(CpuSession.of(decoder, level=level, threads=threads))
    assert [array.shape for array in got] == [array.shape for array in want]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_chunks_and_single_tokens_give_the_same() -> None:
    session = CpuSession.of(_decoder("llama, exact"))
    ids = np.random.default_rng(4).integers(0, session.vocabulary, 70)
    whole = session.forward(ids, all_logits=True)
    session.reset()
    single = np.concatenate([session.forward([token]) for token in ids])
    np.testing.assert_array_equal(single, whole)


def test_results_are_kept() -> None:
    """A result is not memory that the next step writes to."""
    session = CpuSession.of(_decoder("llama, exact"))
    first = session.forward([1, 2])
    kept = first.copy()
    session.forward([3])
    np.testing.assert_array_equal(first, kept)


@pytest.fixture(params=["cpu", "golden"])
def session(request: pytest.FixtureRequest) -> Session:
    return open_session(_decoder("llama, exact"), 6, backend=request.param, threads=1)


def test_what_a_session_says_of_itself(session: Session) -> None:
    assert (session.context, session.position, session.vocabulary) == (6, 0, 320)
    assert session.logit_exponent == _decoder("llama, exact").linears["lm_head"].out_exponent
    assert session.forward([1, 2, 3]).shape == (1, 320)
    assert session.position == 3
    assert session.forward([1, 2], all_logits=True).shape == (2, 320)
    session.reset()
    assert session.position == 0


def test_a_full_context_is_refused_and_nothing_read(session: Session) -> None:
    session.forward([1, 2, 3, 4, 5])
    with pytest.raises(InputError, match="context full: expected at most 1 more of 6 tokens, got 2; shorten the text"):
        session.forward([6, 7])
    assert session.position == 5
    session.forward([6])
    with pytest.raises(InputError, match="context full: expected at most 0 more of 6 tokens, got 1"):
        session.forward([7])


@pytest.mark.parametrize("ids", [[320], [-1], [3, 1 << 40]])
def test_an_id_out_of_the_vocabulary_is_refused(session: Session, ids: list[int]) -> None:
    with pytest.raises(InputError, match=r"expected token ids in 0\.\.319, got .*; use the tokenizer of this model"):
        session.forward(ids)
    assert session.position == 0


@pytest.mark.parametrize("ids", [[], [[1]], [0.5]])
def test_what_is_no_list_of_ids_is_refused(session: Session, ids: list) -> None:
    with pytest.raises(InputError, match="expected a list of token ids"):
        session.forward(ids)


def test_a_program_of_something_else_is_refused() -> None:
    with dialect.context(), ir.Location.unknown():
        empty = ir.Module.create()
    with pytest.raises(
        IRError, match="expected functions @prefill, @decode and @score, got no @prefill, @decode, @score"
    ):
        GoldenSession(empty, {})
    module = _decoder("llama, exact").lut()
    text = str(module).replace("@score", "@other")
    with module.context, pytest.raises(IRError, match="got no @score; quantize a whole model that reads tokens"):
        CpuSession(ir.Module.parse(text), {})


def test_backends_are_named() -> None:
    with pytest.raises(InputError, match="expected a backend among cpu, golden, got 'gpu'"):
        open_session(_decoder("llama, exact"), backend="gpu")
