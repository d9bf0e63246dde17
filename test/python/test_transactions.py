"""The accelerator at transaction level: tokens, logits and caches of the golden model, whatever order waits allow."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lutllm.accelerator.hardware import Hardware
from lutllm.errors import SimulationError
from lutllm.lowering.place.layouts import Layout
from lutllm.lowering.schedule.data import Plan, Task
from lutllm.quantized.pretrained import QuantizedModel
from lutllm.quantizer.random.float_models import LayerShape, float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.run.session import GoldenSession
from lutllm.scheme import ADDITIVE, EXACT, PAPER, Scheme
from lutllm.simulate.transactions.passes import run_passes
from lutllm.simulate.transactions.simulator import TaskResult, TransactionSimulator, physical_linears

CONTEXT = 20
SMALL: dict[str, int] = dict(hidden=24, vocabulary=60)
DECODERS: dict[str, tuple[Sequence[LayerShape], Scheme]] = {
    "llama, 2 heads a key head": ([LayerShape(40)] * 2, EXACT.with_(G=48)),
    "llama, 3 heads a key head": ([LayerShape(40, 3, 1, 10)] * 2, EXACT.with_(R=1, G=64)),
    "qwen3, additive": ([LayerShape(40, 2, 2, 16, True)] * 2, ADDITIVE.with_(G=32, c_a=8)),
    "qwen3, paper": ([LayerShape(40, 6, 2, 6, True)] * 2, PAPER.with_(G=48, c_a=16)),
    "layers of two shapes": ([LayerShape(40), LayerShape(28, 3, 3, 12, True)], EXACT.with_(G=48)),
    "heads of two sizes": ([LayerShape(16, 2, 1, 8), LayerShape(16, 2, 2, 20), LayerShape(16, 1, 1, 8)], EXACT),
}
Planned = tuple[QuantizedModel, Hardware]


def _planned(name: str) -> Planned:
    shapes, scheme = DECODERS[name]
    model = random_model(float_decoder(**SMALL, layers=shapes), scheme, 5, positions=CONTEXT, bias=True)
    return model, Hardware.of(model.lut(CONTEXT), model.tensors, target="tiny")


@pytest.fixture(scope="module", params=DECODERS)
def planned(request: pytest.FixtureRequest) -> Planned:
    return _planned(request.param)


@pytest.fixture(scope="module")
def llama() -> Planned:
    return _planned("llama, 2 heads a key head")


def _prompt(length: int, vocabulary: int = 60) -> list[int]:
    return [int(i) for i in np.random.default_rng(length).integers(0, vocabulary, length)]


def _golden(model: QuantizedModel, prompt: Sequence[int], count: int) -> tuple[GoldenSession, list[np.ndarray]]:
    """The session after `count` tokens, and the logits each was picked from. The last token is not read."""
    session = GoldenSession.of(model, CONTEXT)
    logits = [session.forward(prompt)[0]]
    while len(logits) < count:
        logits.append(session.forward([int(logits[-1].argmax())])[0])
    return session, logits


def _simulator(hardware: Hardware, **options: Any) -> TransactionSimulator:
    return TransactionSimulator.of(hardware.module, hardware.tensors, hardware.image, **options)


@pytest.mark.parametrize("length", [1, 7])
def test_everything_equals_the_golden_model(planned: Planned, length: int) -> None:
    model, hardware = planned
    golden = _golden(model, _prompt(length), 4)
    for late in (False, True):
        _check_run(model, hardware, length, late, *golden)


def _check_run(
    model: QuantizedModel, hardware: Hardware, length: int, late: bool, session: GoldenSession, logits: list[np.ndarray]
) -> None:
    plan, found = hardware.plan, list[np.ndarray]()

    def listener(result: TaskResult) -> None:
        if result.task.engine == "linear" and result.task.program == "head":
            found.append(result.written[0].values.reshape(-1))

    simulator = _simulator(hardware, listener=listener, late=late)
    for words in simulator.chip.words.values():  # nothing may depend on what memories hold at the start
        words[:] = np.random.default_rng(1).integers(-1000, 1000, words.shape)
    run = simulator.generate(_prompt(length), 4)
    assert (run.tokens, run.error) == ([int(each.argmax()) for each in logits], "none")
    assert run.passes == run_passes(length, 4, plan.config.tokens)

    rounds = len([task for task in plan.program("head") if task.engine == "linear"])
    head = plan.works["head", "lm_head"].layout
    for i, want in enumerate(logits):
        np.testing.assert_array_equal(head.pick(np.concatenate(found[i * rounds : (i + 1) * rounds])), want)
    _check_caches(simulator, session)


def _check_caches(simulator: TransactionSimulator, session: GoldenSession) -> None:
    """Head after head, each with room for all positions."""
    layouts = {label: work.layout for (program, label), work in simulator.plan.works.items() if program == "prefill"}
    caches = [region for region in simulator.plan.regions.values() if region.kind in "kv"]
    assert len(caches) == len(session._state)
    for region, want in zip(caches, session._state, strict=True):
        layout: Layout = layouts[f"{region.name[:-2]}.heads"]
        count, size = layout.channels // layout.unit, layout.unit_size
        rows = simulator.chip.bytes(region.address, count * CONTEXT, size).view(np.int8)
        by_row = rows.reshape(count, CONTEXT, -1).transpose(1, 0, 2).reshape(CONTEXT, -1)
        np.testing.assert_array_equal(layout.pick(by_row)[: session.position], want[: session.position])
        np.testing.assert_array_equal(by_row[session.position :], 0)


def test_the_residual_stream_is_that_of_the_layers_before(llama: Planned) -> None:
    """What the first layer leaves is the sum the interpreter has there, word by word."""
    model, hardware = llama
    streams: list[np.ndarray] = []

    def listener(result: TaskResult) -> None:
        if result.task.cluster == "model.layers.0.mlp.down_proj" and result.task.engine == "residual":
            streams.append(result.written[0].values)

    golden: list[np.ndarray] = []
    session = GoldenSession(model.lut(CONTEXT), model.tensors, trace=lambda op, value: golden.append(value)
                            if op.OPERATION_NAME == "lut.add" else None)  # fmt: skip
    session.forward(_prompt(3))
    _simulator(hardware, listener=listener).generate(_prompt(3), 0)
    layout = hardware.plan.works["prefill", "model.layers.0.mlp.down_proj"].layout
    by_token = streams[0].reshape(-1, 3, hardware.plan.config.lanes).transpose(1, 0, 2).reshape(3, -1)
    np.testing.assert_array_equal(layout.pick(by_token), golden[1])
    assert len(np.unique(golden[1])) > 20


def test_a_run_goes_on_where_the_last_one_ended(llama: Planned) -> None:
    model, hardware = llama
    simulator = _simulator(hardware)
    first = simulator.generate(_prompt(5), 2)
    second = simulator.generate([first.tokens[1], 3, 4], 3, position=6)
    _, logits = _golden(model, [*_prompt(5), *first.tokens, 3, 4], 3)
    assert second.tokens == [int(each.argmax()) for each in logits]


def test_the_context_fills_up(llama: Planned) -> None:
    model, hardware = llama
    run = _simulator(hardware).generate(_prompt(CONTEXT - 2), 9)
    _, logits = _golden(model, _prompt(CONTEXT - 2), 3)
    assert (run.tokens, run.error) == ([int(each.argmax()) for each in logits], "context")


def test_stop_and_errors(llama: Planned) -> None:
    simulator = _simulator(llama[1])
    tokens = simulator.generate(_prompt(2), 5).tokens
    stop = tokens[2]
    assert simulator.generate(_prompt(2), 5, stops={stop, 10**6}).tokens == tokens[: tokens.index(stop) + 1]
    assert simulator.generate([], 5).error == "prompt"
    assert simulator.generate(_prompt(CONTEXT + 1), 5).error == "prompt"
    assert simulator.generate([1, 2, 60], 5).error == "token"


def _changed(hardware: Hardware, change: Callable[[Plan], Plan], **options: Any) -> TransactionSimulator:
    """Of a plan that no module has."""
    linears = physical_linears(hardware.module, hardware.tensors)
    return TransactionSimulator(change(hardware.plan), hardware.image, linears, **options)


def test_a_forgotten_wait_is_seen(llama: Planned) -> None:
    """The engine of queries may read what LutLinear still has to make, if nothing tells it to wait."""
    hardware = llama[1]

    def hasty(plan: Plan) -> Plan:
        return replace(plan, tasks=tuple(replace(t, waits=()) if t.engine == "heads" else t for t in plan.tasks))

    want = _simulator(hardware).generate(_prompt(3), 4).tokens
    assert _changed(hardware, hasty, late=True).generate(_prompt(3), 4).tokens != want


def test_a_task_that_would_wait_for_ever_is_named(llama: Planned) -> None:
    hardware = llama[1]
    feed: Task = next(task for task in hardware.plan.tasks if task.engine == "feed")

    def starved(plan: Plan) -> Plan:
        return replace(plan, tasks=tuple(task for task in plan.tasks if task is not feed))

    with pytest.raises(SimulationError, match="expected a task of engine feed before it"):
        _changed(hardware, starved).generate(_prompt(3), 1)
