"""Programs that no template holds: layers unlike each other; an MLP, two linears and a norm, attention alone.
They go through the passes; transactions and hardware give the interpreter's integers.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from lutllm import dialect, interpreter
from lutllm.accelerator.hardware import Hardware, build, greedy
from lutllm.bindings import func, ir
from lutllm.cost.predicted import predicted, run_cycles
from lutllm.lowering.place.clusters import clusters_of
from lutllm.lowering.schedule.read import Reader
from lutllm.quantized.pretrained import QuantizedModel
from lutllm.quantizer.random.float_models import LayerShape, float_decoder, float_linear_norm_linear, float_mlp
from lutllm.quantizer.random.model import random_model
from lutllm.run.generate import generate
from lutllm.run.session import CpuSession
from lutllm.scheme import ADDITIVE, EXACT, Scheme
from lutllm.simulate.accelerator import Accelerator
from lutllm.simulate.transactions.passes import prompt_passes, run_passes
from lutllm.simulate.transactions.simulator import TransactionSimulator

CONTEXT = 16
VQ = Scheme(c_a=16, act_bits=16, G=24)


def attention_alone() -> ir.Module:
    """Rows in, rows out, keys and values kept: two query heads read one key head."""
    text = """
ml_program.global private @f(#ml_program.extern : tensor<4xf32>) : tensor<4xf32>
WEIGHTS
func.func @forward(%x: tensor<?x12xf32>, %p: tensor<1xi32>) -> tensor<?x12xf32> {
  %q = "lut.float_linear"(%x) {name = "q", weight = @q.weight} : (tensor<?x12xf32>) -> tensor<?x16xf32>
  %k = "lut.float_linear"(%x) {name = "k", weight = @k.weight} : (tensor<?x12xf32>) -> tensor<?x8xf32>
  %v = "lut.float_linear"(%x) {name = "v", weight = @v.weight} : (tensor<?x12xf32>) -> tensor<?x8xf32>
  %0 = "lut.float_rope"(%q, %p) {name = "qr", frequencies = @f, heads = 2, scale = 1.0}
      : (tensor<?x16xf32>, tensor<1xi32>) -> tensor<?x16xf32>
  %1 = "lut.float_rope"(%k, %p) {name = "kr", frequencies = @f, heads = 1, scale = 1.0}
      : (tensor<?x8xf32>, tensor<1xi32>) -> tensor<?x8xf32>
  %2 = "lut.float_attention"(%0, %1, %v) {name = "a", heads = 2, kv_heads = 1, scale = 0.35}
      : (tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x16xf32>
  %3 = "lut.float_linear"(%2) {name = "o", weight = @o.weight} : (tensor<?x16xf32>) -> tensor<?x12xf32>
  return %3 : tensor<?x12xf32>
}"""
    shapes = {"q": "16x12", "k": "8x12", "v": "8x12", "o": "12x16"}
    weights = [
        f"ml_program.global private @{name}.weight(#ml_program.extern : tensor<{s}xf32>) : tensor<{s}xf32>"
        for name, s in shapes.items()
    ]
    with dialect.context(), ir.Location.unknown():
        return ir.Module.parse(text.replace("WEIGHTS", "\n".join(weights)))


ROWS: dict[str, tuple[Callable[[], ir.Module], Scheme, int]] = {
    "an MLP alone": (lambda: float_mlp(20, 36), EXACT.with_(G=24), 20),
    "an MLP alone, searching": (lambda: float_mlp(20, 36), VQ, 20),
    "a linear, a norm and a linear": (lambda: float_linear_norm_linear(20, 28, 10), ADDITIVE.with_(G=12), 20),
    "attention alone": (attention_alone, EXACT, 12),
}  # fmt: skip


@cache
def made(name: str) -> tuple[QuantizedModel, Hardware, int]:
    module, scheme, channels = ROWS[name]
    model = random_model(module(), scheme, 7, positions=CONTEXT)
    return model, Hardware.of(model.lut(), model.tensors, target="tiny"), channels


class Rows:
    """A program's one input and one output in memory, read slowly: pass after pass, in each word after word, in each
    token after token."""

    def __init__(self, hardware: Hardware) -> None:
        reader = Reader(hardware.module.operation)
        self.plan = hardware.plan
        clusters = clusters_of(reader.functions["prefill"])
        self.ends = {c.last: (c.named("layout", reader.layouts), c.named("region", reader.regions).address)
                     for c in clusters if c.last in ("load", "save")}  # fmt: skip

    def walk(self, end: str, tokens: int, size: int) -> Any:
        """(token, channel, byte) of each place that holds a channel."""
        layout, address = self.ends[end]
        lanes, row = self.plan.config.lanes, layout.size
        for each in prompt_passes(0, tokens, self.plan.config.tokens):
            at = address + each.position * row * size
            for word in range(row // lanes):
                for token in range(each.tokens):
                    for lane in range(lanes):
                        channel = int(layout.places[word * lanes + lane])
                        if channel >= 0:
                            yield each.position + token, channel, at + lane * size
                    at += lanes * size

    def write(self, image: np.ndarray, x: np.ndarray) -> np.ndarray:
        image = image.copy()
        for token, channel, at in self.walk("load", len(x), 2):
            image[at : at + 2] = np.array([x[token, channel]], "<i2").view(np.uint8)
        return image

    def read(self, memory: np.ndarray, tokens: int, channels: int) -> np.ndarray:
        y = np.zeros((tokens, channels), np.int64)
        for token, channel, at in self.walk("save", tokens, 4):
            y[token, channel] = int(memory[at : at + 4].view("<i4")[0])
        return y


def golden(hardware: Hardware, model: QuantizedModel, x: np.ndarray) -> np.ndarray:
    """The lut program on all rows at once, caches empty."""
    (function,) = [op for op in hardware.program.body.operations if isinstance(op, func.FuncOp)]
    rest = [np.zeros(argument.type.shape, np.int64) for argument in list(function.arguments)[1:]]
    return interpreter.run(hardware.program, [x, *rest], model.tensors)[0]


@pytest.mark.parametrize("tokens", [1, 4, 7])
@pytest.mark.parametrize("name", ROWS)
def test_rows_through_transactions(name: str, tokens: int) -> None:
    model, hardware, channels = made(name)
    x = np.random.default_rng(tokens).integers(-(1 << 14), 1 << 14, (tokens, channels))
    wanted, rows = golden(hardware, model, x), Rows(hardware)
    assert len(np.unique(wanted)) > 5
    for late in (False, True):
        simulator = TransactionSimulator.of(hardware.module, model.tensors, rows.write(hardware.image, x), late=late)
        for words in simulator.chip.words.values():
            words[:] = np.random.default_rng(1).integers(-1000, 1000, words.shape)
        assert simulator.generate([0] * tokens, 0).error == "none"
        assert np.array_equal(rows.read(simulator.chip.image, *wanted.shape), wanted)


@pytest.mark.parametrize("name", ROWS)
def test_rows_through_hardware(name: str) -> None:
    model, hardware, channels = made(name)
    x = np.random.default_rng(0).integers(-(1 << 14), 1 << 14, (6, channels))
    wanted, rows = golden(hardware, model, x), Rows(hardware)
    accelerator = Accelerator(hardware.plan.config, build(hardware.plan.config, "arc"), rows.write(hardware.image, x))
    run = accelerator.start(len(x), 0).check()
    assert np.array_equal(rows.read(accelerator.memory.data, *wanted.shape), wanted)
    assert {span.engine for span in run.spans} == set(hardware.plan.config.engines)
    passes = run_passes(len(x), 0, hardware.plan.config.tokens)
    assert run.cycles == run_cycles(predicted(hardware.plan, passes))


def test_the_machine_has_what_a_program_needs() -> None:
    engines = {name: made(name)[1].plan.config.engines for name in ROWS}
    assert engines["an MLP alone"] == ("linear", "feed", "store", "swiglu", "load", "save")
    assert engines["a linear, a norm and a linear"] == ("linear", "feed", "norm", "residual", "load", "save")
    assert engines["attention alone"] == ("linear", "feed", "store", "heads", "attention", "load", "save")
    sources = [made(name)[1].plan.config.engine.row_sources for name in list(ROWS)[:2]]
    assert sources[0] == ("exact_row",) and "exact_row" not in sources[1]


SHAPES = {
    "intermediate and heads": [LayerShape(24), LayerShape(36, 3, 3)],
    "heads of two sizes": [LayerShape(16, 2, 1, 8), LayerShape(20, 2, 2, 20, True), LayerShape(16, 1, 1, 8)],
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_layers_unlike_each_other(name: str) -> None:
    """From tokens to tokens; test_transactions.py has their caches."""
    shape = float_decoder(hidden=20, vocabulary=40, layers=SHAPES[name])
    model = random_model(shape, EXACT.with_(G=48), 3, positions=CONTEXT)
    hardware = Hardware.of(model.lut(), model.tensors, target="tiny")
    prompt = [3, 1, 4, 1, 5]
    wanted = greedy(hardware.program, model.tensors, prompt, 4).tokens
    for late in (False, True):
        simulator = TransactionSimulator.of(hardware.module, model.tensors, hardware.image, late=late)
        assert simulator.generate(prompt, 4).tokens == wanted
    answer = hardware.answer(build(hardware.plan.config, "arc"), prompt, 4)
    assert answer.equal and answer.tokens == wanted
    passes = run_passes(len(prompt), 4, hardware.plan.config.tokens)
    assert answer.cycles == run_cycles(predicted(hardware.plan, passes))


def test_hardware_ends_where_the_processor_does() -> None:
    """At the first of several tokens that end a text, whichever of them the register of hardware holds."""
    model = random_model(float_decoder(hidden=20, vocabulary=40, layers=1), EXACT.with_(G=48), 3, positions=CONTEXT)
    hardware = Hardware.of(model.lut(), model.tensors, target="tiny")
    simulator = build(hardware.plan.config, "arc")
    prompt = [3, 1, 4, 1, 5]
    free = list(generate(CpuSession.of(model), prompt, 6))[-1].tokens
    unused = min({*range(40)} - {*free})
    assert unused < max(free)
    for stops in ({free[0]}, {unused, free[2]}, {unused, 39 if 39 not in free else 38}):
        wanted = list(generate(CpuSession.of(model), prompt, 6, stops=stops))[-1]
        seen: list[list[int]] = [[]]
        answer = hardware.answer(simulator, prompt, 6, stops=stops, listener=seen.append)
        assert answer.equal and (answer.tokens, answer.stop) == (wanted.tokens, wanted.stop)
        assert answer.tokens == free[: next((i for i, token in enumerate(free) if token in stops), 6)]
        assert seen[-1] == wanted.tokens[: len(seen[-1])] and len(answer.token_cycles) == len(wanted.tokens)
