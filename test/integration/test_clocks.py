"""Two clocks, and keys and values in two rows a cycle: arc, Verilator in this process and the bench that stands alone
say the same in the same cycles."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lutllm.accelerator.hardware import Hardware, build
from lutllm.errors import SimulationError
from lutllm.lowering.export.hw_to_sv import hw_ports, hw_to_sv
from lutllm.lowering.export.image.whole import IMAGE
from lutllm.lowering.export.testbench import write_testbench
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import EXACT
from lutllm.simulate import TestBench

PROMPT, TOKENS = [5, 17, 39], 2
TARGET = """
like = "tiny"
summary = "two clocks"
[clock]
memory_mhz = 400
bus_bits = 32
[accelerator]
attention_rows = 2
attention_ports = 4
kv_bits = 32
[sources]
clock = "chosen"
accelerator = "chosen"
"""


@pytest.fixture(scope="module")
def hardware(tmp_path_factory: pytest.TempPathFactory) -> Hardware:
    path = tmp_path_factory.mktemp("target") / "mine.toml"
    path.write_text(TARGET)
    decoder = float_decoder(hidden=16, intermediate=16, layers=1, vocabulary=40)
    model = random_model(decoder, EXACT.with_(R=1), positions=16)
    return Hardware.of(model.lut(), model.tensors, target=str(path))


def test_tokens_and_cycles_of_three_simulators(hardware: Hardware, tmp_path: Path) -> None:
    if shutil.which("verilator") is None:
        pytest.skip("verilator is not installed (apt install verilator)")
    config = hardware.plan.config
    arc = build(config, "arc")
    answers = {phase: hardware.answer(arc, PROMPT, TOKENS, phase=phase) for phase in range(5)}
    assert all(answer.equal for answer in answers.values())
    assert len({answer.cycles for answer in answers.values()}) > 1  # where the clocks are is seen
    design = accelerator_to_hw(config, "sv")
    hw_to_sv(design, ACCELERATOR_TOP, tmp_path / "rtl")
    command = ["verilator", "--lint-only", "-Wall", "lint.vlt", "-F", "filelist.f", "--top-module", ACCELERATOR_TOP]
    done = subprocess.run(command, cwd=tmp_path / "rtl", capture_output=True, text=True)
    assert not re.search("crossing|fifo|m_axi|attention|dot_|head_rows", done.stderr), done.stderr
    verilator = build(config, "verilator", tmp_path / "rtl")
    for phase, answer in answers.items():
        other = hardware.answer(verilator, PROMPT, TOKENS, phase=phase)
        assert (other.tokens, other.token_cycles) == (answer.tokens, answer.token_cycles)
    (tmp_path / "mem").mkdir()
    hardware.image.tofile(tmp_path / "mem" / IMAGE)
    ports, golden = hw_ports(design, ACCELERATOR_TOP), answers[0].golden
    write_testbench(config, ports, tmp_path / "tb", PROMPT, golden, hardware.model, latency=hardware.plan.latency)
    bench = subprocess.run([tmp_path / "tb" / "run.sh"], capture_output=True, text=True, env=None)
    assert bench.returncode == 0 and "PASS" in bench.stdout, bench.stdout + bench.stderr
    cycles = [int(found) for found in re.findall(r"^ +\d+ +\d+ +\d+ +(\d+)$", bench.stdout, re.M)]
    assert len(cycles) == TOKENS  # a run that begins where the clocks are elsewhere takes some cycles more or less
    assert all(abs(a - b) < 20 for a, b in zip(cycles, answers[0].token_cycles, strict=True))


def test_two_clocks_need_two_periods(hardware: Hardware) -> None:
    with pytest.raises(SimulationError, match="expected periods of two clocks where there are two, got None"):
        TestBench(build(hardware.plan.config, "arc"))
