"""The accelerator at transaction level: tokens, logits and caches of the golden model, whatever order waits allow."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from lutllm.decoder import Decoder, QuantizedDecoder
from lutllm.errors import SimulationError
from lutllm.lowering.decoder_spec import DecoderSpec
from lutllm.lowering.image.whole import whole_image
from lutllm.lowering.layout.channels import Layout, heads_layout
from lutllm.lowering.layout.decoder import DecoderLayout, layout_decoder
from lutllm.lowering.plan.data import Plan
from lutllm.lowering.plan.decoder import config_for, plan_decoder
from lutllm.lowering.targets import TARGETS
from lutllm.quantize.random_decoder import decoder_like, random_decoder
from lutllm.scheme import ADDITIVE, EXACT, PAPER, Scheme
from lutllm.session import GoldenSession
from lutllm.transactions.passes import run_passes
from lutllm.transactions.simulator import TaskResult, TransactionSimulator

CONTEXT = 20
SMALL = dict(hidden=24, intermediate=40, layers=2, vocabulary=60)
DECODERS: dict[str, tuple[Decoder, Scheme]] = {
    "llama, 2 heads a key head": (decoder_like(**SMALL, heads=4, kv_heads=2, head_dim=12), EXACT.with_(G=48)),
    "llama, 3 heads a key head": (decoder_like(**SMALL, heads=3, kv_heads=1, head_dim=10), EXACT.with_(R=1, G=64)),
    "qwen3, additive": (
        decoder_like(**SMALL, heads=2, kv_heads=2, head_dim=16, qk_norm=True),
        ADDITIVE.with_(G=32, c_a=8),
    ),
    "qwen3, paper": (
        decoder_like(**SMALL, heads=6, kv_heads=2, head_dim=6, qk_norm=True),
        PAPER.with_(G=48, c_a=16),
    ),
}


def _planned(name: str) -> tuple[QuantizedDecoder, Plan]:
    structure, scheme = DECODERS[name]
    decoder = random_decoder(structure, scheme, 5, positions=CONTEXT, bias=True)
    spec = DecoderSpec.of(decoder)
    return decoder, plan_decoder(spec, config_for(spec, TARGETS["tiny"], CONTEXT))


@pytest.fixture(scope="module", params=DECODERS)
def planned(request: pytest.FixtureRequest) -> tuple[QuantizedDecoder, Plan]:
    return _planned(request.param)


@pytest.fixture(scope="module")
def llama() -> tuple[QuantizedDecoder, Plan]:
    return _planned("llama, 2 heads a key head")


def _prompt(length: int, vocabulary: int = 60) -> list[int]:
    return [int(i) for i in np.random.default_rng(length).integers(0, vocabulary, length)]


def _golden(decoder: QuantizedDecoder, prompt: Sequence[int], count: int) -> tuple[GoldenSession, list[np.ndarray]]:
    """The session after `count` tokens, and the logits each was picked from. The last token is not read."""
    session = GoldenSession.of(decoder, CONTEXT)
    logits = [session.forward(prompt)[0]]
    while len(logits) < count:
        logits.append(session.forward([int(logits[-1].argmax())])[0])
    return session, logits


@pytest.mark.parametrize("length", [1, 7])
def test_everything_equals_the_golden_model(planned: tuple[QuantizedDecoder, Plan], length: int) -> None:
    decoder, plan = planned
    golden, image = _golden(decoder, _prompt(length), 4), whole_image(plan, decoder)
    for late in (False, True):
        _check_run(decoder, plan, image, length, late, *golden)


def _check_run(
    decoder: QuantizedDecoder,
    plan: Plan,
    image: np.ndarray,
    length: int,
    late: bool,
    session: GoldenSession,
    logits: list[np.ndarray],
) -> None:
    layout = layout_decoder(DecoderSpec.of(decoder), plan.config)
    found: list[np.ndarray] = []

    def listener(result: TaskResult) -> None:
        if result.task.engine == "linear" and result.task.program == "head":
            found.append(result.written[0].values.reshape(-1))

    simulator = TransactionSimulator.of(plan, decoder, image, listener=listener, late=late)
    for words in simulator.chip.words.values():  # nothing may depend on what memories hold at the start
        words[:] = np.random.default_rng(1).integers(-1000, 1000, words.shape)
    run = simulator.generate(_prompt(length), 4)
    assert (run.tokens, run.error) == ([int(each.argmax()) for each in logits], "none")
    assert run.passes == run_passes(length, 4, plan.config.tokens)

    rounds = len(plan.program("head")) // 3
    head = layout.outputs[decoder.decoder.head]
    for i, want in enumerate(logits):
        np.testing.assert_array_equal(head.pick(np.concatenate(found[i * rounds : (i + 1) * rounds])), want)
    _check_caches(simulator, decoder, layout, session)


def _check_caches(
    simulator: TransactionSimulator, decoder: QuantizedDecoder, layout: DecoderLayout, session: GoldenSession
) -> None:
    caches = iter(session._state)
    for layer in decoder.decoder.layers:
        for part, head in (("k", layout.head), ("v", layout.value_head)):
            region = simulator.plan.regions[f"{layer.attention.name}.{part}"]
            count = layer.attention.kv_heads
            rows = simulator.chip.bytes(region.address, count * CONTEXT, len(head)).view(np.int8)
            by_row = rows.reshape(count, CONTEXT, -1).transpose(1, 0, 2).reshape(CONTEXT, -1)
            laid: Layout = heads_layout(count, head)
            want = next(caches)[: session.position]
            np.testing.assert_array_equal(laid.pick(by_row)[: session.position], want)
            np.testing.assert_array_equal(by_row[session.position :], 0)


def test_the_residual_stream_is_that_of_the_layers_before(llama: tuple[QuantizedDecoder, Plan]) -> None:
    """A decoder of one layer alone leaves what the second layer of the whole one reads."""
    decoder, plan = llama
    first = replace(decoder, decoder=replace(decoder.decoder, layers=decoder.decoder.layers[:1]))
    spec = DecoderSpec.of(first)
    short = plan_decoder(spec, plan.config)
    streams: dict[str, np.ndarray] = {}
    for name, of, its_plan in (("whole", decoder, plan), ("first", first, short)):

        def listener(result: TaskResult, name: str = name) -> None:
            if result.task.name.startswith("prefill.model.layers.0.mlp.down_proj") and result.task.engine == "residual":
                streams[name] = result.written[0].values

        TransactionSimulator.of(its_plan, of, listener=listener).generate(_prompt(3), 0)
    np.testing.assert_array_equal(streams["whole"], streams["first"])
    assert len(np.unique(streams["whole"])) > 20


def test_a_run_goes_on_where_the_last_one_ended(llama: tuple[QuantizedDecoder, Plan]) -> None:
    decoder, plan = llama
    simulator = TransactionSimulator.of(plan, decoder)
    first = simulator.generate(_prompt(5), 2)
    second = simulator.generate([first.tokens[1], 3, 4], 3, position=6)
    _, logits = _golden(decoder, [*_prompt(5), *first.tokens, 3, 4], 3)
    assert second.tokens == [int(each.argmax()) for each in logits]


def test_the_context_fills_up(llama: tuple[QuantizedDecoder, Plan]) -> None:
    decoder, plan = llama
    run = TransactionSimulator.of(plan, decoder).generate(_prompt(CONTEXT - 2), 9)
    _, logits = _golden(decoder, _prompt(CONTEXT - 2), 3)
    assert (run.tokens, run.error) == ([int(each.argmax()) for each in logits], "context")


def test_stop_and_errors(llama: tuple[QuantizedDecoder, Plan]) -> None:
    decoder, plan = llama
    simulator = TransactionSimulator.of(plan, decoder)
    tokens = simulator.generate(_prompt(2), 5).tokens
    stop = tokens[2]
    assert simulator.generate(_prompt(2), 5, stop=stop).tokens == tokens[: tokens.index(stop) + 1]
    assert simulator.generate([], 5).error == "prompt"
    assert simulator.generate(_prompt(CONTEXT + 1), 5).error == "prompt"
    assert simulator.generate([1, 2, 60], 5).error == "token"


def test_a_forgotten_wait_is_seen(llama: tuple[QuantizedDecoder, Plan]) -> None:
    """The engine of queries may read what LutLinear still has to make, if nothing tells it to wait."""
    decoder, plan = llama
    hasty = replace(plan, tasks=tuple(replace(t, waits=()) if t.engine == "heads" else t for t in plan.tasks))
    want = TransactionSimulator.of(plan, decoder).generate(_prompt(3), 4).tokens
    assert TransactionSimulator.of(hasty, decoder, late=True).generate(_prompt(3), 4).tokens != want


def test_a_task_that_would_wait_for_ever_is_named(llama: tuple[QuantizedDecoder, Plan]) -> None:
    decoder, plan = llama
    feed = next(task for task in plan.tasks if task.engine == "feed")
    starved = replace(plan, tasks=tuple(task for task in plan.tasks if task is not feed))
    image = whole_image(plan, decoder)
    with pytest.raises(SimulationError, match="expected a task of engine feed before it"):
        TransactionSimulator.of(starved, decoder, image).generate(_prompt(3), 1)
