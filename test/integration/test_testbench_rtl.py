"""The whole accelerator as written to disk: clean lint, Yosys reads it, and its own bench runs it in Verilator."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lutllm import dialect
from lutllm.accelerator.hardware import Hardware
from lutllm.lowering.export.hw_to_sv import hw_ports, hw_to_sv
from lutllm.lowering.export.image.whole import IMAGE, whole_image
from lutllm.lowering.export.testbench import write_testbench
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.machine.form import machine_op
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.run.generate import Generation, generate
from lutllm.run.session import GoldenSession
from lutllm.scheme import EXACT

PROMPT = [5, 17, 200, 3, 9, 11, 250]
WATCHDOG = 1000


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(program) is None, reason=f"{program} is not installed (apt install {program})"
    )


@dataclass
class Output:
    """The folder with rtl/, mem/ and tb/ of a tiny decoder, the golden model's tokens, an address of weights."""

    folder: Path
    build: Path
    tokens: list[int]
    weights: int

    def run(self, *options: str | Path, build: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [self.folder / "tb" / "run.sh", *options]
        environment = os.environ | {"OPT": "-O0", "BUILD": build or str(self.build)}
        return subprocess.run(command, capture_output=True, text=True, cwd="/", env=environment)

    def expecting(self, name: str, old: str, new: str) -> Path:
        """expected.txt with one line changed."""
        text = (self.folder / "tb" / "expected.txt").read_text()
        assert re.search(old, text, re.M)
        path = self.folder / name
        path.write_text(re.sub(old, new, text, flags=re.M))
        return path


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Output:
    folder = tmp_path_factory.mktemp("tiny accelerator")  # a path with a space
    model = random_model(float_decoder(), EXACT.with_(R=1), positions=64)
    program = model.lut()
    module = Hardware.of(program, model.tensors, target="tiny").module
    with module.context:
        machine_op(module.operation).attributes["watchdog"] = dialect.i64(WATCHDOG)  # type: ignore[union-attr]
    hardware = Hardware(program, module, model.tensors, whole_image(module, model.tensors))
    config = hardware.plan.config
    assert config.watchdog == WATCHDOG
    (folder / "mem").mkdir()
    hardware.image.tofile(folder / "mem" / IMAGE)
    made = generate(GoldenSession(program, model.tensors), PROMPT, 4)
    tokens = [token for token in made if not isinstance(token, Generation)]
    design = accelerator_to_hw(config, "sv")
    hw_to_sv(design, ACCELERATOR_TOP, folder / "rtl")
    write_testbench(config, hw_ports(design, ACCELERATOR_TOP), folder / "tb", PROMPT, tokens, hardware.model)
    weights = next(hardware.plan.regions_of("w")).address
    return Output(folder, tmp_path_factory.mktemp("build"), tokens, weights)


@needs("verilator")
def test_lint_is_clean(output: Output) -> None:
    command = ["verilator", "--lint-only", "-Wall", "lint.vlt", "-F", "filelist.f", "--top-module", ACCELERATOR_TOP]
    done = subprocess.run(command, cwd=output.folder / "rtl", capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@needs("yosys")
def test_yosys_reads_it(output: Output) -> None:
    rtl = output.folder / "rtl"
    files = (rtl / "filelist.f").read_text().split()
    script = f"read_verilog -sv {' '.join(files)}; hierarchy -check -top {ACCELERATOR_TOP}; proc; check -assert"
    done = subprocess.run(["yosys", "-q", "-p", script], cwd=rtl, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout[-2000:]
    assert "Warning" not in done.stderr


@needs("verilator")
def test_the_bench_passes_under_any_memory(output: Output) -> None:
    """Registers and memories start at random values, of another seed each time."""
    cycles = []
    for options in (
        ("--verify", "1", "--abort", "700"),
        ("--latency", "1"),
        ("--latency", "17", "--stalls", "70", "--seed", "5"),
    ):
        done = output.run(*options)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert ("stopped: error 'abort'" in done.stdout) == ("--abort" in options)
        assert done.stdout.splitlines()[-1] == "PASS: 4 of 4 tokens as expected"
        rows = re.findall(r"^ *(\d+) +(\d+) +(\d+) +(\d+)$", done.stdout, re.M)
        assert [int(row[1]) for row in rows] == output.tokens == [int(row[2]) for row in rows]
        ends = [int(row[3]) for row in rows]
        assert ends[0] > 0 and ends == sorted(set(ends))
        cycles.append(int(re.findall(r"^(\d+) cycles, \d+ cycles per token$", done.stdout, re.M)[0]))
        assert ends[-1] <= cycles[-1]
    assert cycles[1] < cycles[0] and len(set(cycles)) == 3


@needs("verilator")
def test_a_build_folder_that_make_refuses(output: Output) -> None:
    done = output.run(build=str(output.folder / "build"))
    assert done.returncode == 1 and "expected a build folder without a space" in done.stderr


def wrong_token(output: Output) -> list[str | Path]:
    last = output.tokens[-1]
    return ["--expected", output.expecting("wrong.txt", rf"^(expected .*) {last}$", rf"\1 {last ^ 1}")]


def other_model(output: Output) -> list[str | Path]:
    return ["--expected", output.expecting("model.txt", "^model .*$", "model 0x1")]


def long_prompt(output: Output) -> list[str | Path]:
    return ["--expected", output.expecting("prompt.txt", "^prompt .*$", "prompt" + " 1" * 80)]


def short_image(output: Output) -> list[str | Path]:
    path = output.folder / "short.bin"
    path.write_bytes((output.folder / "mem" / "image.bin").read_bytes()[:4096])
    return ["--image", path]


def damaged_image(output: Output) -> list[str | Path]:
    """A bit of a weight."""
    path, mem = output.folder / "damaged.bin", output.folder / "mem"
    data = bytearray((mem / "image.bin").read_bytes())
    data[output.weights + 5] ^= 8
    path.write_bytes(data)
    return ["--image", path, "--verify", "1"]


CASES: dict[str, tuple[Callable[[Output], list[str | Path]], list[str]]] = {
    "wrong-token": (wrong_token, ["WRONG", "FAIL: 3 of 4 tokens as expected"]),
    "other-model": (other_model, ["the accelerator reports error 'model'", "FAIL: 0 of 4 tokens"]),
    "long-prompt": (long_prompt, ["FAIL: expected at most 64 tokens, the context, got 80"]),
    "short-image": (short_image, ["FAIL: m_axi_d has a burst outside the memory, address 0x"]),
    "damaged-image": (damaged_image, ["FAIL: expected a run without an error, got 'checksum'"]),
    "no-image": (lambda _: ["--image", "/nowhere"], ["FAIL: cannot read the memory image '/nowhere'"]),
    "option": (lambda _: ["--stalls", "300"], ["FAIL: expected a number up to 255, got '300'"]),
    "slow-memory": (
        lambda _: ["--latency", "5000"],
        ["FAIL: watchdog: memory does not answer", "m_axi_d: memory has no beat yet (1 bursts in fl",
         "engines with a task: none"],
    ),
}  # fmt: skip


@needs("verilator")
@pytest.mark.parametrize("case", CASES)
def test_the_bench_fails_and_says_why(case: str, output: Output) -> None:
    options, wanted = CASES[case]
    done = output.run(*options(output))
    assert done.returncode == 1, done.stdout
    assert [line for line in wanted if line not in done.stdout] == [], done.stdout
