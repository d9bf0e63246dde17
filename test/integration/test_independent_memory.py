"""A whole accelerator in four states: memory, host and simulator are not ours, but cocotbext-axi's and Icarus."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from lutllm.accelerator.hardware import Hardware, greedy
from lutllm.lowering.export.hw_to_sv import hw_to_sv
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.hardware.control import register_map as rm
from lutllm.lowering.machine.accelerator import ERRORS
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import EXACT

for package in ("cocotb", "cocotbext.axi"):
    pytest.importorskip(package, reason=f"{package} is not installed (pip install lutllm[test]): no independent memory")
if shutil.which("iverilog") is None:
    pytest.skip("iverilog is not installed (apt install iverilog): no run in four states", allow_module_level=True)


# Of memory's clock, in ps, where there is one: its period and when it begins. The core's period is 4000.
CLOCKS = {"one clock": None, "250 and 400 MHz": (2500, 0), "odd clocks": (3334, 700)}


def target_of(folder: Path, clocks: str) -> str:
    if CLOCKS[clocks] is None:
        return "tiny"
    path = folder / "mine.toml"
    text = 'like = "tiny"\nsummary = "two clocks"\n[clock]\nmemory_mhz = 400\nbus_bits = 32\n'
    path.write_text(text + '[sources]\nclock = "chosen"\n')
    return str(path)


@pytest.mark.parametrize("clocks", CLOCKS)
def test_tokens_with_a_memory_and_a_host_that_are_not_ours(clocks: str, tmp_path: Path) -> None:
    from cocotb_tools.runner import get_results, get_runner

    decoder = float_decoder(hidden=16, intermediate=16, layers=1, vocabulary=40)
    model = random_model(decoder, EXACT.with_(R=1), positions=16)
    hardware = Hardware.of(model.lut(), model.tensors, target=target_of(tmp_path, clocks))
    config, prompt = hardware.plan.config, [5, 17, 39]
    files = hw_to_sv(accelerator_to_hw(config, "sv"), ACCELERATOR_TOP, tmp_path / "rtl")
    hardware.image.tofile(tmp_path / "image.bin")
    given = dict(
        registers=rm.OFFSETS, window=rm.window(config.context), base=3 * 4096, model=hardware.model, prompt=prompt,
        tokens=greedy(hardware.program, hardware.tensors, prompt, 2).tokens, reads=list(config.read_ports),
        writes=list(config.write_ports), bus_clock=CLOCKS[clocks], seed=1, pauses=0.2, aborted=ERRORS.index("abort"),
        START=rm.START, ABORT=rm.ABORT, VERIFY=rm.VERIFY,
    )  # fmt: skip
    (tmp_path / "given.json").write_text(json.dumps(given))
    shutil.copy(Path(__file__).with_name("cocotb_accelerator.py"), tmp_path)
    runner = get_runner("icarus")
    runner.build(sources=files, hdl_toplevel=ACCELERATOR_TOP, build_dir=tmp_path / "build", timescale=("1ns", "1ps"))
    results = runner.test(
        hdl_toplevel=ACCELERATOR_TOP, test_module="cocotb_accelerator", test_dir=tmp_path, build_dir=tmp_path / "build",
        extra_env={"PYTHONPATH": str(tmp_path), "COCOTB_ANSI_OUTPUT": "0", "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert get_results(results) == (1, 0)
