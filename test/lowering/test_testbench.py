"""The folder tb/ as text: what is generated names this design's registers, masters and run."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lutllm.errors import IRError
from lutllm.lowering.export.driver import driver_header
from lutllm.lowering.export.hw_to_arc import Port
from lutllm.lowering.export.testbench import design_header, masters, write_testbench
from lutllm.lowering.hardware.control.register_map import MIN_WINDOW, OFFSETS
from lutllm.lowering.machine.accelerator import ERRORS, AcceleratorConfig

CONFIG = AcceleratorConfig(context=1500, watchdog=777)
PORTS = [
    Port(name, 0, bits, direction)
    for name, bits, direction in (
        ("ap_clk", 1, "in"), ("ap_rst_n", 1, "in"),
        ("s_axi_control_awaddr", 14, "in"), ("s_axi_control_awvalid", 1, "in"),
        ("irq", 1, "out"), ("events", 20, "out"), ("m_axi_d_arvalid", 1, "out"), ("m_axi_w0_arvalid", 1, "out"),
        ("m_axi_kv_awvalid", 1, "out"),
    )
]  # fmt: skip


def write(folder: Path, **options: Any) -> dict[str, str]:
    files = write_testbench(CONFIG, PORTS, folder, [7, 8, 9], [4, 5], 0x1234, **options)
    return {path.name: path.read_text() for path in files}


def test_masters_are_found_and_the_slave_is_none() -> None:
    assert masters(PORTS) == [("m_axi_d", "READ"), ("m_axi_w0", "READ"), ("m_axi_kv", "WRITE")]


def test_the_header_is_of_this_design() -> None:
    text = design_header(CONFIG, PORTS)
    assert "WATCHDOG = 777;" in text
    assert re.findall(r"push_back\((\w+)_PORT\(top, memory, (\w+)\)", text) == [(k, n) for n, k in masters(PORTS)]
    driver = driver_header()
    for where, name, words in ((text, "ENGINES", CONFIG.engines), (driver, "ERRORS", ERRORS)):
        listed = re.search(rf"{name}\[\] = {{([^}}]*)}}", where)
        assert listed and re.findall(r'"(\w+)"', listed[1]) == list(words)
    found = {name: int(value, 16) for name, value in re.findall(r"uint32_t (\w+) = (0x\w+);", driver)}
    assert OFFSETS.items() <= found.items() and found["MIN_WINDOW"] == MIN_WINDOW


def test_the_run_is_in_a_file_of_its_own(tmp_path: Path) -> None:
    assert write(tmp_path)["expected.txt"] == "model 0x1234\nmemory 0\nprompt 7 8 9\nexpected 4 5\n"
    text = write(tmp_path, stops=(6, 5), memory_bytes=99)["expected.txt"]
    assert text == "model 0x1234\nmemory 99\nstop 5 6\nprompt 7 8 9\nexpected 4 5\n"


def test_the_same_bytes_twice(tmp_path: Path) -> None:
    first = write(tmp_path / "a")
    assert first == write(tmp_path / "b") == write(tmp_path / "a")
    names = {"main.cpp", "axi_memory.h", "design.h", "lutllm_driver.hpp", "expected.txt", "run.sh", "README.txt"}
    assert set(first) == names == {path.name for path in (tmp_path / "a").iterdir()}
    assert not [name for name, text in first.items() if re.search(r"@[A-Z]+@", text)]
    assert max(len(line) for text in first.values() for line in text.splitlines()) <= 120


def test_the_script_says_how_it_is_used_and_what_it_lacks(tmp_path: Path) -> None:
    write(tmp_path)
    script = tmp_path / "run.sh"
    shown = subprocess.run([script, "--help"], capture_output=True, text=True, cwd="/")
    assert shown.returncode == 0 and "--stalls N" in shown.stdout and "../mem/image.bin" in shown.stdout
    tools = tmp_path / "tools"
    tools.mkdir()
    for program in ("sh", "dirname"):
        (tools / program).symlink_to(Path("/bin") / program)
    bare = subprocess.run([script], capture_output=True, text=True, env=os.environ | {"PATH": str(tools)})
    assert (bare.returncode, bare.stderr) == (1, "expected program 'verilator' on the path, got none\n")


def test_a_design_without_a_host_is_refused(tmp_path: Path) -> None:
    ports = [port for port in PORTS if port.name not in ("irq", "events")]
    with pytest.raises(IRError, match="expected the ports of a whole accelerator, got none named events, irq"):
        write_testbench(CONFIG, ports, tmp_path, [1], [2], 3)
