"""The emitted SystemVerilog of accelerators of linears: the same run in Verilator as in the arc JIT, in a bench of its
own, clean lint, Yosys."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lutllm.lowering.export.hw_to_sv import hw_ports, hw_to_sv
from lutllm.lowering.export.testbench import write_testbench
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.machine.engine import MODES, EngineConfig
from lutllm.lowering.machine.targets import find_target
from lutllm.simulate import AxiTiming, VerilatorSimulator

TINY = find_target("tiny").engine
NAMES = ("tiny", "small", "one-pair", "six-pairs", "exact-only", "row-only", "table-only", "stored-only")
MakeCase = Callable[..., Any]
Arc = Callable[..., Any]
Rtl = Callable[[str], Path]


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(program) is None, reason=f"{program} is not installed (apt install {program})"
    )


def write_rtl(config: AcceleratorConfig, folder: Path) -> list[Path]:
    return hw_to_sv(accelerator_to_hw(config, "sv"), ACCELERATOR_TOP, folder)


@pytest.fixture(scope="module")
def made(case: MakeCase) -> Any:
    """All row sources, passes of three sizes, linears of one and of two rounds."""
    jobs = [dict(pairs=5, outputs=37, G=16, R=2, row_source=source) for source in MODES]
    return case(TINY, [*jobs, dict(pairs=3, outputs=150, G=24, row_source="built_row")], 7, seed=4)


@pytest.fixture(scope="module")
def rtl(
    made: Any, engines: dict[str, EngineConfig], machine: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Rtl:
    """The directory with the SystemVerilog around an engine, written at its first use. That of `tiny` is for `made`."""
    folders: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            config = made.activations.plan.config if name == "tiny" else machine(engines[name]).config
            write_rtl(config, folders[name])
        return folders[name]

    return get


@needs("verilator")
def test_verilator_runs_as_arc_does(made: Any, arc: Arc, rtl: Rtl) -> None:
    """Same integers, same cycles, same cycle of every write, with memory that stalls and memory that does not."""
    ports = hw_ports(accelerator_to_hw(made.activations.plan.config, "sv"), ACCELERATOR_TOP)
    verilator = VerilatorSimulator(rtl("tiny"), ACCELERATOR_TOP, ports, random_start=3)
    for timing in (AxiTiming(latency=40), AxiTiming(latency=7, stall_address=60, stall_data=60, stall_response=60)):
        one, other = (made.run(simulator, timing=timing, seed=9).run for simulator in (arc(made), verilator))
        assert one.cycles == other.cycles and one.spans == other.spans
        assert one.result.ports == other.result.ports
        for region in made.activations.plan.regions_of("y"):
            places = range(region.address, region.address + region.size, TINY.requant_lanes * 4)
            assert [one.result.write_cycle(p) for p in places] == [other.result.write_cycle(p) for p in places]


@needs("verilator")
def test_its_own_bench_compares_rows(made: Any, arc: Arc, rtl: Rtl, tmp_path: Path) -> None:
    """The folder tb/: passes with its inputs put into an image, fails where one byte of its outputs differs."""
    plan, image = made.activations.plan, made.image
    accelerator = made.accelerator(arc(made))
    accelerator.start(made.tokens, 0).check()
    after = accelerator.memory.data
    inputs = {r.address: image[r.address : r.address + r.size].tobytes() for r in plan.regions_of("x")}
    outputs = {r.address: after[r.address : r.address + r.size].tobytes() for r in plan.regions_of("y")}
    for address, data in inputs.items():
        image[address : address + len(data)] = 0xEE
    (tmp_path / "image.bin").write_bytes(image.tobytes())
    ports = hw_ports(accelerator_to_hw(plan.config, "sv"), ACCELERATOR_TOP)
    folder = tmp_path / "tb"
    write_testbench(
        plan.config, ports, folder, [], [], accelerator.host.model, "../image.bin",
        rtl=os.path.relpath(rtl("tiny"), folder), length=made.tokens, inputs=inputs, outputs=outputs,
    )  # fmt: skip

    def run() -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"OPT": "-O0"}
        return subprocess.run([folder / "run.sh"], capture_output=True, text=True, env=environment)

    done = run()
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    for address, data in outputs.items():
        assert f"output_{address:x}.bin: {len(data)} of {len(data)} bytes as expected" in done.stdout
    address, data = next(iter(outputs.items()))
    (folder / f"output_{address:x}.bin").write_bytes(data[:5] + bytes([data[5] ^ 1]) + data[6:])
    done = run()
    assert done.returncode == 1 and f"the first that differs at {address + 5:#x}  WRONG" in done.stdout


@needs("verilator")
@pytest.mark.parametrize("name", NAMES)
def test_lint_is_clean(name: str, rtl: Rtl) -> None:
    command = ["verilator", "--lint-only", "-Wall", "lint.vlt", "-F", "filelist.f", "--top-module", ACCELERATOR_TOP]
    done = subprocess.run(command, cwd=rtl(name), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@needs("yosys")
@pytest.mark.parametrize("name", [name for name in NAMES if name != "small"])
def test_yosys_reads_it(name: str, rtl: Rtl) -> None:
    files = (rtl(name) / "filelist.f").read_text().split()
    script = f"read_verilog -sv {' '.join(files)}; hierarchy -check -top {ACCELERATOR_TOP}; proc; check -assert"
    done = subprocess.run(["yosys", "-q", "-p", script], cwd=rtl(name), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout[-2000:]
    assert "Warning" not in done.stderr


def test_one_module_a_file_and_the_same_bytes_twice(made: Any, rtl: Rtl, tmp_path: Path) -> None:
    """The text depends on the machine alone: there is no way from a linear to the generator."""
    files = write_rtl(replace(made.activations.plan.config), tmp_path)
    assert tmp_path / f"{ACCELERATOR_TOP}.sv" in files and len(files) > 20
    for file in files:
        assert re.findall(r"^module (\w+)", file.read_text(), re.M) == [file.stem]
    first = {f.name: f.read_bytes() for f in rtl("tiny").iterdir()}
    assert first == {f.name: f.read_bytes() for f in tmp_path.iterdir()}


def test_what_nobody_uses_is_not_built(made: Any, arc: Arc, rtl: Rtl) -> None:
    """No engines but those named, no memories and masters but theirs; without search, tables or codebooks no modules
    for them."""

    def units(name: str) -> set[str]:
        names = {re.sub(r"^lut_[0-9a-f]{8}_", "", f.stem) for f in rtl(name).glob("*.sv")}
        return {unit for unit in names if not re.match(r"ram|fifo|axi|beats", unit)}

    assert {"bpcsu", "search_stage_0", "row_builder", "psum_control", "load", "feed", "save"} <= units("tiny")
    assert not {"search_stage_1", "norm", "heads", "attention", "embed", "pick", "residual"} & units("tiny")
    assert not any(unit.startswith("row_builder") for unit in units("stored-only"))
    assert {"search_stage_0", "search_stage_1"} <= units("stored-only")
    assert not any(unit.startswith(("bpcsu", "search")) for unit in units("exact-only"))
    layout = arc(made).layout
    masters = {p.name.removesuffix("valid")[6:] for p in layout.ports if re.match(r"m_axi_.*valid$", p.name)}
    assert masters == {f"{name}_{way}" for name in ("d", "c", "q", "w0", "x") for way in ("ar", "r")} | {
        "y_aw", "y_w", "y_b"
    }  # fmt: skip
    memories = {s.name.split("/")[0] for s in layout.states if s.depth and s.name.startswith(("memory_", "registers/"))}
    assert memories == {"memory_x"}
