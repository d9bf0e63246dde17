"""The emitted SystemVerilog of whole engines: the same run in Verilator as in the arc JIT, clean lint, Yosys."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lutllm.lowering.accelerator_to_hw import ENGINE_TOP, engine_to_hw
from lutllm.lowering.circt import Design, Module, Signal
from lutllm.lowering.engine import MODES, EngineConfig
from lutllm.lowering.hw_to_sv import hw_ports, hw_to_sv
from lutllm.lowering.memory import ram
from lutllm.lowering.targets import TARGETS
from lutllm.simulate import AxiTiming, VerilatorSimulator
from lutllm.simulate.program import ProgramRun, compare, simulate_program

TINY = TARGETS["tiny"].engine
ENGINES = {
    "tiny": TINY,
    "small": TARGETS["small"].engine,
    "exact-only": EngineConfig(
        pairs=2, lanes=12, centroids=4, chains=2, requant_lanes=12, tokens=1, acc_words=5, row_sources=("exact_row",),
        port_bits={"w": 128, "x": 32, "c": 32, "q": 512, "y": 256},
    ),
    "stored-only": EngineConfig(
        pairs=2, lanes=16, centroids=9, chains=3, act_stages=2, metric="l2", table_bits=16, requant_lanes=8, tokens=3,
        acc_words=21, row_sources=("stored_table",), weight_ports=2,
        port_bits={"w": 128, "x": 32, "c": 64, "q": 64, "y": 64},
    ),
    "three-pairs": EngineConfig(
        pairs=3, lanes=6, centroids=15, chains=3, act_stages=2, metric="l2", term_bits=31, table_bits=12, out_bits=32,
        requant_lanes=3, tokens=5, acc_words=33, codes_depth=3, weight_ports=3, burst_beats=4,
        port_bits={"w": 32, "x": 64, "c": 128, "q": 64, "y": 32},
    ),
    "row-and-table": EngineConfig(
        pairs=1, lanes=4, centroids=4, chains=4, requant_lanes=1, tokens=3, acc_words=9, codes_depth=2, burst_beats=1,
        row_sources=("built_row", "built_table"), port_bits={"w": 32, "x": 32, "c": 32, "q": 32, "y": 32},
    ),
}  # fmt: skip
MakeCase = Callable[..., Any]
MakeEngine = Callable[..., Any]


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(program) is None, reason=f"{program} is not installed (apt install {program})"
    )


@pytest.fixture(scope="module")
def rtl(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The directory with an engine's SystemVerilog, written at its first use."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            hw_to_sv(engine_to_hw(ENGINES[name], "sv"), ENGINE_TOP, made[name])
        return made[name]

    return get


@pytest.fixture(scope="module")
def verilator(rtl: Callable[[str], Path]) -> VerilatorSimulator:
    return VerilatorSimulator(rtl("tiny"), ENGINE_TOP, hw_ports(engine_to_hw(TINY, "sv"), ENGINE_TOP), random_start=3)


@needs("verilator")
@pytest.mark.parametrize(
    "timing",
    [AxiTiming(latency=40), AxiTiming(latency=7, stall_address=60, stall_data=60, stall_response=60)],
    ids=["steady", "stalling"],
)
def test_verilator_runs_as_arc_does(
    timing: AxiTiming, case: MakeCase, arc_engine: MakeEngine, verilator: VerilatorSimulator
) -> None:
    """All row sources, token steps and output ranges: same integers, same cycles, same cycle of every write."""
    jobs = [dict(pairs=5, outputs=37, tokens=6, G=16, R=2, row_source=source) for source in MODES]
    jobs.append(dict(pairs=3, outputs=150, tokens=4, G=24, row_source="built_row"))
    made = case(TINY, jobs, seed=4)
    runs: list[ProgramRun] = []
    for simulator in (arc_engine(TINY), verilator):
        runs.append(simulate_program(made.program, made.linears, made.inputs, simulator, timing=timing, seed=9))
        assert compare(runs[-1], made.golden) == []
    arc, sv = runs
    assert arc.result.cycles == sv.result.cycles
    assert arc.summed == sv.summed and len(arc.summed) == 10 and 0 not in arc.summed
    assert arc.result.ports == sv.result.ports
    assert all(np.array_equal(arc.outputs[name], sv.outputs[name]) for name in made.golden)
    for round_ in made.program.rounds:
        region = made.program.regions[round_.y]
        places = range(region.address, region.address + region.size, 8)
        assert [arc.result.write_cycle(p) for p in places] == [sv.result.write_cycle(p) for p in places]


@needs("verilator")
@pytest.mark.parametrize("name", ENGINES)
def test_lint_is_clean(name: str, rtl: Callable[[str], Path]) -> None:
    command = ["verilator", "--lint-only", "-Wall", "lint.vlt", "-F", "filelist.f", "--top-module", ENGINE_TOP]
    done = subprocess.run(command, cwd=rtl(name), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@needs("yosys")
@pytest.mark.parametrize("name", ["tiny", "exact-only", "stored-only", "three-pairs", "row-and-table"])
def test_yosys_reads_it(name: str, rtl: Callable[[str], Path]) -> None:
    files = (rtl(name) / "filelist.f").read_text().split()
    script = f"read_verilog -sv {' '.join(files)}; hierarchy -check -top {ENGINE_TOP}; proc; check -assert"
    done = subprocess.run(["yosys", "-q", "-p", script], cwd=rtl(name), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout[-2000:]
    assert "Warning" not in done.stderr


def test_one_module_a_file_and_the_same_bytes_twice(rtl: Callable[[str], Path], tmp_path: Path) -> None:
    files = hw_to_sv(engine_to_hw(TINY, "sv"), ENGINE_TOP, tmp_path)
    assert tmp_path / f"{ENGINE_TOP}.sv" in files and len(files) > 20
    for file in files:
        assert re.findall(r"^module (\w+)", file.read_text(), re.M) == [file.stem]
    first = {f.name: f.read_bytes() for f in rtl("tiny").iterdir()}
    assert first == {f.name: f.read_bytes() for f in tmp_path.iterdir()}


def test_nothing_of_the_weights_is_in_the_rtl(case: MakeCase) -> None:
    """The text depends on the engine alone: there is no way from a linear to the generator."""
    text = engine_to_hw(TINY, "sv").text()
    case(TINY, [dict(pairs=5, outputs=37, tokens=6, row_source="built_row")], seed=4)
    assert engine_to_hw(replace(TINY), "sv").text() == text


def test_the_wanted_modules_only(rtl: Callable[[str], Path]) -> None:
    """An engine without search, tables or codebooks has no modules for them."""

    def units(name: str) -> set[str]:
        return {f.stem for f in rtl(name).glob("*.sv") if not re.match(r"ram|fifo|axi|beats|word_", f.stem)}

    assert {"bpcsu", "search_stage_0", "row_builder", "psum_control"} <= units("tiny")
    assert not any(re.match("search_stage_1", unit) for unit in units("tiny"))
    assert not any(f.stem.startswith("row_builder") for f in rtl("stored-only").glob("*.sv"))
    assert {"search_stage_0", "search_stage_1"} <= units("stored-only")


# (depth, width, clocked read, cell, how many): RAMs an engine asks for
RAMS = [
    (512, 32, True, "RAMB18E2", 1),  # a lane of the accumulator, small engine
    (128, 128, True, "RAMB36E2", 2),  # a table of row entries
    (4096, 72, True, "URAM288", 1),
    (64, 38, True, "RAM64M8", 6),  # operands
    (16, 64, False, "RAM32M16", 5),  # a FIFO
]


@needs("yosys")
def test_ram_leaves_infer_the_memory_they_ask_for(tmp_path: Path) -> None:
    """All in one run of Yosys, each a module of its own under one top."""
    design = Design("sv")
    names = [ram(design, depth, width, read_latency=int(clocked)) for depth, width, clocked, _, _ in RAMS]
    ports = {f"{name}_{port}": bits for name in names for port, bits in design.modules[name].inputs.items()}

    def body(m: Module) -> dict[str, Signal]:
        inputs = {name: {port: m[f"{name}_{port}"] for port in design.modules[name].inputs} for name in names}
        return {f"{name}_rd": m.output_of(name, f"the_{name}", **inputs[name]) for name in names}

    design.module("rams", ports, {f"{name}_rd": design.modules[name].outputs["rd"] for name in names}, body)
    files = hw_to_sv(design, "rams", tmp_path)
    read = f"read_verilog -sv {' '.join(f.name for f in files)}"
    done = subprocess.run(
        ["yosys", "-p", f"{read}; synth_xilinx -family xcup -noiopad -top rams; stat"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    sections = dict(re.findall(r"^=== (\w+) ===\n(.*?)(?=^===|\Z)", done.stdout, re.M | re.S))
    for name, (_, width, _, cell, count) in zip(names, RAMS, strict=True):
        cells = {found: int(number) for found, number in re.findall(r"^\s+(\w+)\s+(\d+)$", sections[name], re.M)}
        assert cells.get(cell) == count, (name, cells)
        registers = sum(number for found, number in cells.items() if found.startswith("FD"))
        assert registers <= width, (name, cells)  # the array itself is not made of registers
