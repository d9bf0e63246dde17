"""Runs a scheduled program on simulated hardware and compares every result with the golden model's.

In: a `Program`, its quantized linears and integer inputs, a `Simulator` of its engine. Out: outputs, the cycle each
round ended at, traffic; `compare` names the first differing element and the cycle it was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lutllm.errors import InputError
from lutllm.lowering.accelerator_to_hw import ENGINE_TOP, engine_to_hw
from lutllm.lowering.engine import EngineConfig
from lutllm.lowering.hw_to_arc import hw_to_arc
from lutllm.lowering.hw_to_sv import hw_ports
from lutllm.lowering.image.linear import load_memory, output_address, output_values
from lutllm.lowering.program import Program, Round
from lutllm.scheme import QuantizedLinear
from lutllm.simulate.simulator import ArcSimulator, Simulator
from lutllm.simulate.testbench import Memory, RunResult, run_program
from lutllm.simulate.verilator import VerilatorSimulator


@dataclass(frozen=True)
class Mismatch:
    """The first differing result of a linear: `element` is (token, output), `cycle` when it was written."""

    linear: str
    row_source: str
    element: tuple[int, int]
    cycle: int | None
    expected: int
    got: int
    count: int

    def __str__(self) -> str:
        when = "never written" if self.cycle is None else f"written at cycle {self.cycle}"
        return (
            f"'lut.requantize' of {self.linear} ({self.row_source}): element [{self.element[0]}, {self.element[1]}], "
            f"{when}: expected {self.expected}, got {self.got}; {self.count} elements differ"
        )


@dataclass
class ProgramRun:
    """`outputs`: int64 [tokens, outputs] by linear. `summed`: the cycle each round's first result was written at, just
    after its last lookup, in round order."""

    program: Program
    outputs: dict[str, np.ndarray]
    summed: list[int]
    result: RunResult

    def cycles(self) -> dict[str, int]:
        """Cycles by linear, adding up to the whole run.

        Rounds overlap: a round drains while the next looks up. A linear counts from the last lookup of the round before
        to its own; the first also has the start-up, the last also drains.
        """
        cycles: dict[str, int] = {}
        before = 0
        for round_, end in zip(self.program.rounds, [*self.summed[:-1], self.result.cycles], strict=True):
            cycles[round_.linear] = cycles.get(round_.linear, 0) + end - before
            before = end
        return cycles

    def lookups(self) -> dict[str, int]:
        """Lookups by linear: pairs x stages x outputs x tokens, padding not counted."""
        counts: dict[str, int] = {}
        for round_ in self.program.rounds:
            counts[round_.linear] = counts.get(round_.linear, 0) + round_.lookups
        return counts


def engine_simulator(engine: EngineConfig, kind: str, rtl: Path) -> Simulator:
    """A simulator of `engine`: `arc`, built here, or `verilator`, from the SystemVerilog that lies in `rtl`."""
    if kind == "verilator":
        return VerilatorSimulator(rtl, ENGINE_TOP, hw_ports(engine_to_hw(engine, "sv"), ENGINE_TOP))
    return ArcSimulator(hw_to_arc(engine_to_hw(engine, "arc"), ENGINE_TOP))


def simulate_program(
    program: Program,
    linears: Mapping[str, QuantizedLinear],
    inputs: Mapping[str, np.ndarray],
    simulator: Simulator,
    **options: Any,
) -> ProgramRun:
    """Load memory, run to done, read back. `options` go to `run_program` (timing, stalls, seed, trace ...).

    Raises `SimulationError` if the hardware stops short or reports an error.
    """
    return run_image(program, load_memory(program, linears, inputs), simulator, **options)


def run_image(program: Program, image: np.ndarray, simulator: Simulator, **options: Any) -> ProgramRun:
    """Like `simulate_program`, from a memory image."""
    if image.size != program.memory_bytes:
        raise InputError(
            f"memory image: expected {program.memory_bytes} bytes as the program's map says, got {image.size}; "
            "make it again from this program"
        )
    memory = Memory(image)
    start = program.descriptors.address
    result = run_program(simulator, memory, start, len(program.rounds), **options).check()
    outputs: dict[str, np.ndarray] = {}
    summed = []
    for round_ in program.rounds:
        region = program.regions[round_.y]
        values = output_values(program, round_, memory.read(region.address, region.size))
        whole = outputs.setdefault(round_.linear, np.zeros(_shape(program, round_.linear), np.int64))
        tokens = slice(round_.token_offset, round_.token_offset + round_.tokens)
        whole[tokens, round_.output_offset : round_.output_offset + round_.outputs] = values
        summed.append(result.write_cycle(region.address) or 0)
    return ProgramRun(program, outputs, summed, result)


def _shape(program: Program, linear: str) -> tuple[int, int]:
    mine = [r for r in program.rounds if r.linear == linear]
    return max(r.token_offset + r.tokens for r in mine), max(r.output_offset + r.outputs for r in mine)


def compare(run: ProgramRun, golden: Mapping[str, np.ndarray]) -> list[Mismatch]:
    """The first mismatch of each linear that differs from `golden`, int64 [tokens, outputs] each."""
    found = []
    missing = sorted(set(run.outputs) - set(golden))
    if missing:
        raise InputError(f"expected golden results of every linear, got none of {', '.join(missing)}")
    for linear, got in run.outputs.items():
        expected = np.asarray(golden[linear])
        if expected.shape != got.shape:
            wanted = f"expected golden results of shape {list(got.shape)}"
            raise InputError(f"{linear}: {wanted}, got {list(expected.shape)}")
        wrong = np.argwhere(expected != got)
        if len(wrong):
            token, output = (int(i) for i in wrong[0])
            round_ = _round_of(run.program, linear, token, output)
            address = output_address(run.program, round_, token - round_.token_offset, output - round_.output_offset)
            cycle = run.result.write_cycle(address)
            values = int(expected[token, output]), int(got[token, output])
            found.append(Mismatch(linear, round_.row_source, (token, output), cycle, *values, len(wrong)))
    return found


def _round_of(program: Program, linear: str, token: int, output: int) -> Round:
    return next(
        r
        for r in program.rounds
        if r.linear == linear and 0 <= token - r.token_offset < r.tokens and 0 <= output - r.output_offset < r.outputs
    )
