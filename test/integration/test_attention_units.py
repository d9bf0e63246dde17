"""Attention in units of KV heads, with ports of any width and contexts of any length: tokens are the golden model's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest

from lutllm.accelerator.hardware import Hardware, build
from lutllm.errors import LutllmError
from lutllm.interpreter.module import run as interpreted
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import EXACT
from lutllm.simulate import AxiTiming, Simulator
from lutllm.simulate.accelerator import Accelerator
from lutllm.simulate.transactions.simulator import TransactionSimulator

LONG = 32768

Made = Callable[["Kind"], tuple[Hardware, Simulator]]


@dataclass(frozen=True)
class Kind:
    """A model's heads on units of attention, of `ways` each that take `rows` at a time, through `ports` of `kv_bits`; a
    word of a row is of 64 bits."""

    units: int
    ways: int
    kv_bits: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int = 48
    shape: dict[str, Any] = field(default_factory=dict, hash=False)
    rows: int = 1
    ports: int = 1


KINDS = {
    "1 unit, group of 4": Kind(1, 1, 32, 4, 1, 20),
    "2 units, group of 1": Kind(2, 1, 32, 4, 4, 16),
    "2 units, group of 4": Kind(2, 1, 64, 8, 2, 8),
    "4 units, group of 2": Kind(4, 1, 32, 8, 4, 12),
    "3 units, group of 3": Kind(3, 1, 64, 9, 3, 16),
    "2 units of 2 ways, group of 4": Kind(2, 2, 64, 8, 2, 12),
    "1 unit of 3 ways, group of 3": Kind(1, 3, 32, 6, 2, 16),
    "2 rows": Kind(1, 1, 64, 4, 2, 8, rows=2, ports=2),
    "2 rows in 2 ports of half a word": Kind(1, 1, 32, 4, 2, 16, rows=2, ports=2),
    "2 rows in 4 ports, 2 units of 2 ways": Kind(2, 2, 32, 4, 2, 12, rows=2, ports=4),
    "4 rows, 2 ways, group of 2": Kind(1, 2, 64, 4, 2, 12, rows=4, ports=4),
    "a row in 2 ports": Kind(1, 1, 32, 4, 2, 16, rows=1, ports=2),
    "2 rows in 4 ports, 2 units of 2 ways, windows": Kind(2, 2, 32, 4, 2, 12, shape=dict(window=5), rows=2, ports=4),
    "8 rows, windows": Kind(1, 1, 64, 4, 1, 16, shape=dict(window=3), rows=8, ports=8),
    "8 rows, context of 45": Kind(1, 1, 64, 4, 1, 16, 45, rows=8, ports=8),
}


@pytest.fixture
def made(attention_target: Callable[..., str]) -> Made:
    return lambda kind: _made(kind, attention_target(kind.units, kind.ways, kind.kv_bits, kind.rows, kind.ports))


@cache
def _made(kind: Kind, target: str) -> tuple[Hardware, Simulator]:
    shape = dict(layers=2, heads=kind.heads, kv_heads=kind.kv_heads, head_dim=kind.head_dim, qk_norm=True) | kind.shape
    model = random_model(float_decoder(**shape), EXACT.with_(R=1), positions=kind.context)
    hardware = Hardware.of(model.lut(kind.context), model.tensors, target=target)
    config = hardware.plan.config
    assert (config.attention_units, config.attention_ways) == (kind.units, kind.ways)
    return hardware, build(hardware.plan.config, "arc")


TIMINGS = {
    "short": dict(timing=AxiTiming(latency=1)),
    "long": dict(timing=AxiTiming(latency=300)),
    "random": dict(timing=AxiTiming(latency=20, outstanding=3, stall_address=90, stall_data=120, stall_response=100)),
}


@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize("name", KINDS)
def test_tokens(name: str, timing: str, made: Made) -> None:
    hardware, simulator = made(KINDS[name])
    prompt = [i * 11 % hardware.plan.vocabulary for i in range(9)]
    answer = hardware.answer(simulator, prompt, 4, **TIMINGS[timing])
    assert answer.error == "none" and len(answer.tokens) == 4
    assert answer.tokens == answer.golden
    if timing == "short":
        for late in (False, True):
            tasks = TransactionSimulator.of(hardware.module, hardware.tensors, hardware.image, late=late)
            assert tasks.generate(prompt, 4).tokens == answer.golden


def test_the_watchdog_sees_a_port_of_any_unit(made: Made) -> None:
    hardware, simulator = made(KINDS["2 units, group of 4"])
    timing = dict.fromkeys(hardware.plan.config.read_ports, AxiTiming(latency=64)) | {"v1": AxiTiming(latency=1 << 30)}
    timing = {f"m_axi_{name}": t for name, t in timing.items()}
    accelerator = Accelerator(hardware.plan.config, simulator, hardware.image, timing=timing, watchdog=9 << 17)
    accelerator.host.prompt([1, 2, 3])
    run = accelerator.start(3, 1)
    assert run.watchdog and run.error == "watchdog" and run.stalled == ["linear", "attention"]


@pytest.mark.parametrize(("tokens", "rows"), [(1, 1), (3, 1), (3, 4)])
def test_the_end_of_a_long_context(tokens: int, rows: int, made: Made) -> None:
    """The KV caches hold random rows of all tokens before: scores, sums and counts of `LONG` positions."""
    kind = Kind(2, 1, 64, 4, 2, 8, LONG, dict(layers=1), rows, rows)
    hardware, simulator = made(kind)
    plan, rng = hardware.plan, np.random.default_rng(5)
    assert plan.config.tokens == 2  # of tiny's 4: there is room for as many scores
    image = hardware.image.copy()
    caches = {}
    for region in (region for letter in "kv" for region in plan.regions_of(letter)):
        caches[region.name] = rng.integers(-128, 128, region.size, np.int8)
        image[region.address : region.address + region.size] = caches[region.name].view(np.uint8)
    position = LONG - tokens
    accelerator = Accelerator(plan.config, simulator, image)
    prompt = [5, 9, 2][:tokens]
    accelerator.host.sequence = [0] * position
    accelerator.host.prompt(prompt, position)
    run = accelerator.start(LONG, 1, position=position).check()
    # Row by row of a head, or rows % 4 of all in a part of their own.
    caches = {name: cache.reshape(2, rows, LONG // rows, 8).swapaxes(1, 2) for name, cache in caches.items()}
    state = [cache.reshape(2, LONG, 8).swapaxes(0, 1).reshape(LONG, 16) for cache in caches.values()]
    state[0] = state[0].reshape(LONG, 2, 4, 2).swapaxes(2, 3).reshape(LONG, 16)  # pairs of keys lie side by side
    inputs = [np.array(prompt, np.int32), np.array([position], np.int32), *state]
    *_, logits, _, _ = interpreted(hardware.program, inputs, hardware.tensors, function="prefill")
    assert run.tokens == [int(np.argmax(logits[-1]))]


@pytest.mark.parametrize(
    ("units", "kv_bits", "rows", "ports", "message"),
    [
        (0, 64, 1, 1, "attention_units to be a whole number above 0, got 0"),
        (1, 128, 1, 1, "expected kv_bits in 32..64, of requant_lanes to head_lanes channels, got 128; change it"),
        (1, 48, 1, 1, "expected kv_bits to be a power of two, got 48; change it"),
        (1, 64, 3, 4, "expected attention_rows to be a power of two, got 3; change it"),
        (1, 64, 4, 2, "expected attention_ports in 4..4, of a row to kv_bits of one, got 2; change it"),
        (1, 64, 16, 16, "expected attention_rows of at most context = 12, got 16; change either"),
        (1, 32, 2, 8, "expected attention_ports in 2..4, of a row to kv_bits of one, got 8; change it"),
    ],
)
def test_units_that_cannot_be_built(units: int, kv_bits: int, rows: int, ports: int, message: str, made: Made) -> None:
    with pytest.raises(LutllmError, match=message):
        made(Kind(units, 1, kv_bits, 4, 2, 8, 12, rows=rows, ports=ports))
