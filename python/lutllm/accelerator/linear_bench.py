"""`lutllm bench` without a model: how fast linears are on an accelerator, on random weights of given shapes.

Every run is also checked. Cycle counts are exact; seconds depend on the machine. Needs no model and no torch.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lutllm.accelerator.activations import Activations
from lutllm.accelerator.hardware import PASSES, build
from lutllm.accelerator.linear_program import linear_program
from lutllm.errors import InputError
from lutllm.lowering import pipelines
from lutllm.lowering.export.hw_to_sv import hw_to_sv
from lutllm.lowering.export.image.whole import whole_image
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.machine.engine import MODES
from lutllm.passes import run_pipeline
from lutllm.quantizer.random.linear import random_linear
from lutllm.scheme import EXACT, PAPER
from lutllm.simulate import Simulator

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
    """One program of seven linears. `peak`: lookups a cycle the engine can do; `utilization` of it, start to end."""

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
            f"accelerator to SystemVerilog: {self.to_systemverilog_seconds:.2f} s; to a simulator: "
            f"{self.simulator_seconds:.2f} s"
        )
        return "\n".join(lines)


def bench(
    *, target: str = "small", tokens: Sequence[int] = (16, 1), blocks: Sequence[int] = (512, 320), seed: int = 0,
    row_sources: Sequence[str] = MODES,
) -> Report:  # fmt: skip
    """Run a layer's seven linears for each row source, number of tokens and block size, one weight stage.

    The memory answers after 64 cycles and gives a beat a cycle on every port. Each kind of row source has an
    accelerator of its own.
    """
    unknown = sorted(set(row_sources) - set(MODES))
    if unknown:
        raise InputError(f"expected row sources among {', '.join(MODES)}, got {', '.join(unknown)}")
    built: dict[int, Simulator] = {}
    seconds = [0.0, 0.0]
    found = []
    for count in tokens:
        for block in blocks:
            for source in row_sources:
                program = _program(target, source, block, seed)
                config = program.plan.config
                if config.identity not in built:
                    start = time.perf_counter()
                    with tempfile.TemporaryDirectory() as directory:
                        hw_to_sv(accelerator_to_hw(config, "sv"), ACCELERATOR_TOP, directory)
                    middle = time.perf_counter()
                    built[config.identity] = build(config, "arc")
                    seconds = [middle - start, time.perf_counter() - middle]
                found.append(_measure(program, built[config.identity], source, count, block, seed))
    return Report(seconds[0], seconds[1], tuple(found))


def _program(target: str, source: str, block: int, seed: int) -> Activations:
    scheme = (EXACT if source == "exact_row" else PAPER).with_(R=1, G=block)
    stored = source == "stored_table"
    linears = [random_linear(k, o, scheme, seed, name=n, tables=stored) for n, k, o in SHAPES]
    module, tensors = linear_program(linears)
    run_pipeline(module, pipelines.to_scheduled(target, source), passes=PASSES)
    return Activations(module, tensors, whole_image(module, tensors))


def _measure(
    program: Activations, simulator: Simulator, source: str, tokens: int, block: int, seed: int
) -> Measurement:
    rng = np.random.default_rng(seed)
    inputs = [rng.integers(-(1 << 15), 1 << 15, (tokens, k)) for _, k, _ in SHAPES]
    found = program.run(simulator, inputs)
    engine, run = program.plan.config.engine, found.run
    peak, cycles = engine.pairs * engine.lanes, run.cycles
    lookups = sum(k // 2 * o * tokens for _, k, o in SHAPES)
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
        equal=found.equal,
        simulated_cycles_per_second=run.result.cycles_per_second,
    )
