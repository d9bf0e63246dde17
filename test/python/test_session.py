"""Sessions: machine code against the interpreter on whole random decoders, chunks, limits, errors."""

import itertools
from typing import Any

import numpy as np
import pytest

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.cpu.features import available_levels
from lutllm.errors import InputError, IRError
from lutllm.lowering.cpu.plan import FEW
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


@pytest.fixture(scope="module", params=["qwen3, additive", "layers unlike each other"])
def together(request: pytest.FixtureRequest) -> tuple[QuantizedModel, list[np.ndarray], list[np.ndarray]]:
    """Texts, and the logits after every token of each, read alone."""
    decoder, rng = _decoder(request.param), np.random.default_rng(5)
    texts = [rng.integers(0, 320, 4 + 2 * i) for i in range(10)]
    return decoder, texts, [GoldenSession.of(decoder).forward(text, all_logits=True) for text in texts]


@pytest.mark.parametrize(("level", "threads"), [*((level, 2) for level in available_levels()), (None, 1)])
def test_tokens_of_several_sequences_are_those_of_each_alone(
    together: tuple[QuantizedModel, list[np.ndarray], list[np.ndarray]], level: str | None, threads: int
) -> None:
    """Texts of other lengths; two more join in every round, up to more than are run at once, then they leave."""
    decoder, texts, wants = together
    first = CpuSession.of(decoder, level=level, threads=threads)
    sessions = [first, *(first.another() for _ in texts[1:])]
    most = 0
    for turn in itertools.count():
        running = [i for i, text in enumerate(texts) if i <= 2 * turn and sessions[i].position < len(text)]
        if not running:
            break
        tokens = [int(texts[i][sessions[i].position]) for i in running]
        got = first.forward_each([sessions[i] for i in running], tokens)
        want = [wants[i][sessions[i].position - 1] for i in running]
        np.testing.assert_array_equal(got, want)
        most = max(most, len(running))
    assert most > FEW and [one.position for one in sessions] == [len(text) for text in texts]


def test_nothing_is_read_where_one_of_several_sequences_cannot() -> None:
    first = CpuSession.of(_decoder("llama, exact"), 6)
    second = first.another()
    second.forward([1] * 6)
    with pytest.raises(InputError, match="context full: expected at most 0 more of 6 tokens, got 1"):
        first.forward_each([first, second], [1, 1])
    assert (first.position, second.position) == (0, 6)


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
