"""`lutllm bench` without a model: how fast the hardware engine is, on random weights of given shapes.

Every run is also checked. Cycle counts are exact; seconds depend on the machine. Needs no model and no torch.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lutllm import interpreter
from lutllm.errors import InputError
from lutllm.lowering.accelerator_to_hw import ENGINE_TOP, engine_to_hw
from lutllm.lowering.engine import MODES, EngineConfig
from lutllm.lowering.hw_to_arc import hw_to_arc
from lutllm.lowering.hw_to_sv import hw_to_sv
from lutllm.lowering.schedule import Layer, engine_for, schedule
from lutllm.lowering.targets import find_target
from lutllm.quantize.random import random_linear
from lutllm.scheme import EXACT, PAPER
from lutllm.simulate import ArcSimulator, AxiTiming
from lutllm.simulate.program import compare, simulate_program

# The seven linears of a SmolLM2-135M decoder layer: (name, inputs, outputs).
SHAPES = (
    ("q_proj", 576, 576),
    ("k_proj", 576, 192),
    ("v_proj", 576, 192),
    ("o_proj", 576, 576),
    ("gate_proj", 576, 1536),
    ("up_proj", 576, 1536),
    ("down_proj", 1536, 576),
)


@dataclass(frozen=True)
class Measurement:
    """One program of seven rounds. `peak`: lookups a cycle the engine can do; `utilization` of it, start to end."""

    row_source: str
    tokens: int
    block: int
    cycles: int
    lookups_per_cycle: float
    peak: int
    utilization: float
    read_bytes_per_cycle: float
    equal: bool
    simulated_cycles_per_second: float


@dataclass(frozen=True)
class Report:
    to_systemverilog_seconds: float
    simulator_seconds: float
    measurements: tuple[Measurement, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        head = f"{'row source':13} {'tokens':>6} {'block':>5} {'cycles':>8} {'lookups/cycle':>13} {'of peak':>8}"
        lines = [head + f" {'read B/cycle':>13} {'equal':>6} {'simulated cycles/s':>19}"]
        lines += [
            f"{m.row_source:13} {m.tokens:6} {m.block:5} {m.cycles:8} {m.lookups_per_cycle:13.1f} "
            f"{m.utilization:8.1%} {m.read_bytes_per_cycle:13.1f} {'yes' if m.equal else 'NO':>6} "
            f"{m.simulated_cycles_per_second:19,.0f}"
            for m in self.measurements
        ]
        lines.append(
            f"engine to SystemVerilog: {self.to_systemverilog_seconds:.2f} s; to a simulator: "
            f"{self.simulator_seconds:.2f} s"
        )
        return "\n".join(lines)


def bench(
    *, target: str = "small", tokens: Sequence[int] = (16, 1), blocks: Sequence[int] = (512, 320), seed: int = 0,
    row_sources: Sequence[str] = MODES,
) -> Report:  # fmt: skip
    """Run a layer's seven rounds for each row source, number of tokens and block size, one weight stage.

    The memory answers after 64 cycles and gives a beat a cycle on every port.
    """
    unknown = sorted(set(row_sources) - set(MODES))
    if unknown:
        raise InputError(f"expected row sources among {', '.join(MODES)}, got {', '.join(unknown)}")
    engine = engine_for([PAPER, EXACT], find_target(target).engine)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        hw_to_sv(engine_to_hw(engine, "sv"), ENGINE_TOP, directory)
    to_sv = time.perf_counter() - start
    start = time.perf_counter()
    simulator = ArcSimulator(hw_to_arc(engine_to_hw(engine, "arc"), ENGINE_TOP))
    to_simulator = time.perf_counter() - start
    found = [
        _measure(engine, simulator, source, count, block, seed)
        for count in tokens
        for block in blocks
        for source in row_sources
    ]
    return Report(to_sv, to_simulator, tuple(found))


def _measure(
    engine: EngineConfig, simulator: ArcSimulator, source: str, tokens: int, block: int, seed: int
) -> Measurement:
    scheme = (EXACT if source == "exact_row" else PAPER).with_(R=1, G=block)
    stored = source == "stored_table"
    linears = {n: random_linear(k, o, scheme, seed, name=n, tables=stored) for n, k, o in SHAPES}
    rng = np.random.default_rng(seed)
    inputs = {n: rng.integers(-(1 << 15), 1 << 15, (tokens, k)) for n, k, _ in SHAPES}
    layers = [Layer(n, q.pairs, q.outputs, tokens, scheme, source, q.shift) for n, q in linears.items()]
    program = schedule(layers, engine, 1 << 30)
    run = simulate_program(program, linears, inputs, simulator, timing=AxiTiming(latency=64))
    golden = {n: interpreter.linear(linears[n], inputs[n], source) for n in linears}
    lookups, cycles = sum(run.lookups().values()), run.result.cycles
    peak = engine.pairs * engine.lanes
    read = sum(port.bytes for port in run.result.ports.values() if port.kind == "read")
    return Measurement(
        row_source=source,
        tokens=tokens,
        block=block,
        cycles=cycles,
        lookups_per_cycle=round(lookups / cycles, 2),
        peak=peak,
        utilization=round(lookups / cycles / peak, 4),
        read_bytes_per_cycle=round(read / cycles, 2),
        equal=not compare(run, golden),
        simulated_cycles_per_second=run.result.cycles_per_second,
    )
