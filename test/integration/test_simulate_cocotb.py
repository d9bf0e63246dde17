"""One unit under cocotb with Icarus Verilog: the AXI reader against cocotbext-axi's memory, an independent model."""

import os
import shutil
from pathlib import Path

import pytest

from lutllm.lowering.export.hw_to_sv import hw_to_sv
from lutllm.lowering.hardware.lib.axi import axi_read_stream, read_bus
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal

pytest.importorskip("cocotb", reason="cocotb is not installed (pip install lutllm[test])")
pytest.importorskip("cocotbext.axi", reason="cocotbext-axi is not installed (pip install cocotbext-axi)")
if shutil.which("iverilog") is None:
    pytest.skip("iverilog is not installed (apt install iverilog)", allow_module_level=True)

BITS, TOP = 64, "reader_top"


def reader_top() -> Design:
    """The reader with its bus prefixed `m_axi_`, as cocotbext-axi wants it; a reset clears it."""
    design = Design("sv")
    name = design.loose(axi_read_stream(design, BITS, burst_beats=8, outstanding=2))
    made = design.modules[name]
    read_outputs = read_bus(BITS).forward

    def body(m: Module) -> dict[str, Signal]:
        bus = {signal: m[f"m_axi_{signal}"] for signal in read_bus(BITS).back}
        rest = {port: m[port] for port in made.takes if port not in bus and port != "clear"}
        outputs = m.instance(name, "reader", clear=m.rst, **bus, **rest)
        return {f"m_axi_{p}" if p in read_outputs else p: signal for p, signal in outputs.items()}

    def renamed(ports: dict[str, int], bus: dict[str, int]) -> dict[str, int]:
        return {f"m_axi_{port}" if port in bus else port: width for port, width in ports.items()}

    inputs = {port: bits for port, bits in made.takes.items() if port != "clear"}
    design.module(TOP, renamed(inputs, read_bus(BITS).back), renamed(made.gives, read_outputs), body)
    return design


def test_reader_against_cocotbext_axi(tmp_path: Path) -> None:
    from cocotb_tools.runner import get_results, get_runner

    files = hw_to_sv(reader_top(), TOP, tmp_path)
    shutil.copy(Path(__file__).with_name("cocotb_axi_read.py"), tmp_path)
    runner = get_runner("icarus")
    runner.build(sources=files, hdl_toplevel=TOP, build_dir=tmp_path / "build", timescale=("1ns", "1ps"))
    results = runner.test(
        hdl_toplevel=TOP,
        test_module="cocotb_axi_read",
        test_dir=tmp_path,
        build_dir=tmp_path / "build",
        extra_env={"PYTHONPATH": str(tmp_path), "COCOTB_ANSI_OUTPUT": "0", "PATH": os.environ["PATH"]},
    )
    assert get_results(results) == (1, 0)
