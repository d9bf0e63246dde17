"""The model of memory: never faster than its channels, slower for short bursts and at random, the same by seed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from lutllm.accelerator.hardware import Hardware, build
from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.hardware.lib.axi import axi_read_stream, read_bus
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, const
from lutllm.lowering.machine.targets import find_target
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import EXACT
from lutllm.simulate import ArcSimulator, Memory, TestBench
from lutllm.simulate.dram import MemoryModel

V80 = find_target("v80")
ONE = replace(V80.memory, gb_per_s=25.6)  # one pseudo-channel
BITS, PORTS, BYTES = 256, 64, 64 * 1024  # bytes that each port reads of its own


@cache
def readers(ports: int, burst: int, prefix: str = "w") -> ArcSimulator:
    """Masters that read without end, each from where its number says, a command of a page at a time."""
    design = Design("arc")
    made = design.loose(axi_read_stream(design, BITS, burst_beats=burst, outstanding=8))

    def body(m: Module) -> dict[str, Signal]:
        outputs = {}
        for i in range(ports):
            bus = {port: m[f"{prefix}{i}_{port}"] for port in read_bus(BITS).back}
            page = m.state(64, f"page_{i}", reset=i * BYTES)
            out = m.instance(
                made, f"reader_{i}", clear=m.rst, command_valid=const(1, 1), command_address=page.signal,
                command_beats=const(4096 // (BITS // 8), 32), data_ready=const(1, 1), **bus,
            )  # fmt: skip
            page.set((page.signal + 4096) & ~const(PORTS * BYTES, 64), out["command_ready"])
            outputs |= {f"{prefix}{i}_{port}": out[port] for port in read_bus(BITS).forward}
        return outputs

    inputs = {f"{prefix}{i}_{port}": width for i in range(ports) for port, width in read_bus(BITS).back.items()}
    outputs = {f"{prefix}{i}_{port}": width for i in range(ports) for port, width in read_bus(BITS).forward.items()}
    return ArcSimulator(hw_to_arc(design, design.module("readers", inputs, outputs, body)), optimize=0)


def rate(ports: int, burst: int, model: MemoryModel, prefix: str = "w", seed: int = 1) -> float:
    """GB/s of all ports."""
    bench = TestBench(
        readers(ports, burst, prefix), memory=Memory(2 * PORTS * BYTES), dram=model, seed=seed, watchdog=10**6
    )
    bench.reset()
    bench.step(2000)
    before = sum(port.bytes for port in bench.run(0).ports.values())
    bench.step(8000)
    moved = sum(port.bytes for port in bench.run(0).ports.values()) - before
    return moved / 8000 * V80.clock.memory_mhz / 1000


def test_all_ports_together_never_reach_more_than_the_share() -> None:
    """64 ports of 256 bits at 400 MHz ask for 819 GB/s in long bursts in order; two share a pseudo-channel."""
    limit = V80.memory.share * V80.memory.gb_per_s
    assert 0.95 * limit < rate(PORTS, 32, MemoryModel.of(V80)) <= limit


def test_one_port_has_its_own_rate_and_a_lower_clock_less() -> None:
    model = MemoryModel.of(V80)
    alone = rate(1, 32, model)
    assert 0.9 * V80.memory.port_gb_per_s < alone <= V80.memory.port_gb_per_s
    slow = replace(V80, clock=replace(V80.clock, memory_mhz=250))
    assert rate(1, 32, MemoryModel.of(slow)) * 250 / 400 <= 8.0  # 32 bytes a cycle


def test_short_bursts_and_other_rows_cost_time() -> None:
    model = MemoryModel.of(V80)
    assert rate(8, 1, model, "w") < 0.9 * rate(8, 32, model, "w")
    # Four streams in one channel, each in rows of the same bank, beside the same in one row.
    shared, one_row = (
        replace(model, dram=replace(model.dram, channels=1, row_bytes=size), memory=ONE) for size in (4096, 1 << 20)
    )
    assert rate(4, 32, shared) < 0.7 * rate(4, 32, one_row)


def test_ports_of_the_network_reach_every_channel_and_share_them() -> None:
    one = MemoryModel.of(replace(V80, dram=replace(V80.dram, channels=1), memory=ONE))
    assert rate(8, 32, one, "m") <= 0.92 * 25.6 < rate(8, 32, MemoryModel.of(V80), "m")


@cache
def hardware() -> Hardware:
    decoder = float_decoder(hidden=16, intermediate=16, layers=1, vocabulary=40)
    model = random_model(decoder, EXACT.with_(R=1), positions=16)
    return Hardware.of(model.lut(), model.tensors, target="tiny")


def test_tokens_are_the_same_and_cycles_the_seeds() -> None:
    simulator, model = build(hardware().plan.config, "arc"), MemoryModel.of(find_target("tiny"))
    answers = [hardware().answer(simulator, [5, 17, 39], 2, dram=model, seed=seed) for seed in (1, 1, 2)]
    assert all(answer.equal for answer in answers)
    assert answers[0].cycles == answers[1].cycles != answers[2].cycles
    plain = hardware().answer(simulator, [5, 17, 39], 2)
    assert np.isclose(plain.cycles, answers[0].cycles, rtol=0.5) and plain.cycles != answers[0].cycles


@pytest.mark.parametrize("target", ["v80", "u280"])
def test_a_target_says_where_its_numbers_come_from(target: str) -> None:
    assert find_target(target).dram.channels == 32
