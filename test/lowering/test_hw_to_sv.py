"""hw to SystemVerilog: one module a file, the same bytes each time, read by other tools without a warning."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lutllm.errors import IRError
from lutllm.lowering.export.hw_to_sv import hw_ports, hw_to_sv
from lutllm.lowering.hardware.lib.axi import axi_read_stream, axi_write_stream
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import ram
from lutllm.lowering.hardware.lib.signal import Signal


def masters() -> Design:
    """A reader and a writer side by side, with every port brought out."""
    design = Design("sv")
    names = {"r": axi_read_stream(design, 64), "w": axi_write_stream(design, 128, burst_beats=8)}
    names = {key: design.loose(name) for key, name in names.items()}
    made = {key: design.modules[name] for key, name in names.items()}

    def body(m: Module) -> dict[str, Signal]:
        result = {}
        for key, name in names.items():
            outputs = m.instance(name, f"{key}_master", **{p: m[f"{key}_{p}"] for p in made[key].takes})
            result |= {f"{key}_{port}": signal for port, signal in outputs.items()}
        return result

    inputs = {f"{key}_{port}": width for key in names for port, width in made[key].takes.items()}
    outputs = {f"{key}_{port}": width for key in names for port, width in made[key].gives.items()}
    design.module("top", inputs, outputs, body)
    return design


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(program) is None, reason=f"{program} is not installed (apt install {program})"
    )


def test_one_module_a_file_in_filelist_order(tmp_path: Path) -> None:
    files = hw_to_sv(masters(), "top", tmp_path)
    assert files[-1].name == "top.sv"
    assert {f.name for f in files} == {f.name for f in tmp_path.glob("*.sv")}
    for file in files:
        assert re.findall(r"^module (\w+)", file.read_text(), re.M) == [file.stem]


def test_same_input_gives_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        hw_to_sv(masters(), "top", tmp_path / name)
    first = {f.name: f.read_bytes() for f in (tmp_path / "a").iterdir()}
    assert first == {f.name: f.read_bytes() for f in (tmp_path / "b").iterdir()}


def test_an_earlier_output_is_replaced_whole(tmp_path: Path) -> None:
    design = Design("sv")
    name = ram(design, 16, 8)
    design.module("other", {"d": 8}, {"q": 8}, lambda m: {"q": m.reg(m["d"], "q")}, reset=False)
    (tmp_path / "notes.sv").write_text("mine")
    hw_to_sv(design, name, tmp_path)
    hw_to_sv(design, "other", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"other.sv", "filelist.f", "lint.vlt", "notes.sv"}


def test_a_failed_export_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hw_to_sv(masters(), "top", tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def stop(module: object, directory: str) -> None:
        Path(directory, "top.sv").write_text("half")
        raise OSError("no space left")

    monkeypatch.setattr("lutllm.lowering.export.hw_to_sv.export_split_verilog", stop)
    with pytest.raises(OSError, match="no space"):
        hw_to_sv(masters(), "top", tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_names_are_readable(tmp_path: Path) -> None:
    hw_to_sv(masters(), "top", tmp_path)
    for name in ("axi_read_64x16_64.sv", "axi_write_128x8x4_16.sv"):
        text = (tmp_path / name).read_text()
        assert "_GEN" not in text
        assert re.search(r"\bissue =\s", text)


def test_enable_stays_an_if(tmp_path: Path) -> None:
    design = Design("sv")
    design.module("held", {"en": 1, "d": 8}, {"q": 8}, lambda m: {"q": m.reg(m["d"], "value", enable=m["en"])})
    (file,) = hw_to_sv(design, "held", tmp_path)
    assert re.search(r"if \(en\)\s+value <= d;", file.read_text())


def test_ports_without_lowering_to_arc() -> None:
    ports = hw_ports(masters(), "top")
    assert [(p.name, p.bits) for p in ports if p.direction == "out"][:3] == [
        ("r_data_valid", 1),
        ("r_data_data", 64),
        ("r_error", 1),
    ]
    assert [p.name for p in ports[:2]] == ["clk", "rst"]


def test_unknown_top() -> None:
    with pytest.raises(IRError, match="expected a module named 'nothing', got"):
        hw_to_sv(masters(), "nothing", "unused")


@needs("verilator")
def test_lint_is_clean(tmp_path: Path) -> None:
    hw_to_sv(masters(), "top", tmp_path)
    command = ["verilator", "--lint-only", "-Wall", "lint.vlt", "-F", "filelist.f", "--top-module", "top"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@needs("yosys")
def test_yosys_reads_it(tmp_path: Path) -> None:
    files = hw_to_sv(masters(), "top", tmp_path)
    script = f"read_verilog -sv {' '.join(f.name for f in files)}; hierarchy -check -top top; proc; check -assert"
    done = subprocess.run(["yosys", "-p", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Found and reported 0 problems." in done.stdout


# (depth, width, clocked read, cell, how many): RAMs that hardware asks for
RAMS = [
    (512, 32, True, "RAMB18E2", 1),  # a lane of the accumulator, small engine
    (8192, 144, True, "URAM288", 4),
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
    ports = {f"{name}_{port}": bits for name in names for port, bits in design.modules[name].takes.items()}

    def body(m: Module) -> dict[str, Signal]:
        inputs = {name: {port: m[f"{name}_{port}"] for port in design.modules[name].takes} for name in names}
        return {f"{name}_rd": m.output_of(name, f"the_{name}", **inputs[name]) for name in names}

    design.module("rams", ports, {f"{name}_rd": design.modules[name].gives["rd"] for name in names}, body)
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


def test_a_design_for_the_other_target_is_refused(tmp_path: Path) -> None:
    design = Design("arc")
    name = ram(design, 64, 8)
    with pytest.raises(IRError, match="expected a design for target 'sv', got 'arc'"):
        hw_to_sv(design, name, tmp_path)
