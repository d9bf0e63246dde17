"""Ctrl-C ends long work within two seconds, says what stays, and leaves no program running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lutllm.lowering.export.hw_to_sv import hw_to_sv
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.tools.lutllm import INTERRUPTED
from lutllm.workers import broken_off, program

SECONDS = 10  # two, on a machine that does nothing else; what is broken off would take minutes


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_what_has_not_begun_never_does(tmp_path: Path) -> None:
    begun: list[int] = []

    def work(i: int) -> None:
        begun.append(i)
        for _ in range(2):
            program(["sleep", "60"], tmp_path)

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), broken_off(ThreadPoolExecutor(2)) as pool:
        futures = [pool.submit(work, i) for i in range(6)]
        while len(begun) < 2:
            time.sleep(0.01)
        raise KeyboardInterrupt
    for future in futures[:2]:
        future.exception()
    assert begun == [0, 1] and all(future.cancelled() for future in futures[2:])
    assert time.monotonic() - start < 60


def test_a_program_that_takes_too_long_ends(tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        program(["sleep", "60"], tmp_path, 0.1)
    assert program(["echo", "done"], tmp_path).stdout == "done\n"


def interrupted(
    command: list[str], ready: str, folder: Path, path: str | None = None, begun: Callable[[], bool] = lambda: True
) -> tuple[int, str, float]:
    """(exit code, stderr, seconds until the end) of a command that gets SIGINT once a line of it has `ready`, and
    something has `begun`."""
    environment = os.environ | ({"PATH": f"{path}:{os.environ['PATH']}"} if path else {})
    run = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert run.stderr is not None
    lines = []
    for line in run.stderr:
        lines.append(line)
        if ready in line:
            break
    while not begun():
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    start = time.monotonic()
    watch = threading.Timer(60, run.kill)
    watch.start()
    rest = run.stderr.read()
    code = run.wait()
    watch.cancel()
    return code, "".join(lines) + rest, time.monotonic() - start


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lutllm.tools.lutllm", *arguments]


def test_quantization_ends_and_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    arguments = command("quantize", "tiny-llama", "-o", "q", "--text", __file__, "--tokens", "1024", "--distill", "0")
    code, errors, seconds = interrupted(arguments, "[2/15]", tmp_path)
    assert code == INTERRUPTED and "interrupted; the same command goes on where quantization was" in errors
    assert "Traceback" not in errors and seconds < SECONDS
    again = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "kept from an earlier run" in again.stderr


def test_programs_end_with_what_runs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Yosys, stood in for by a program that writes down who it is and sleeps."""
    rtl = tmp_path / "rtl"
    hw_to_sv(accelerator_to_hw(AcceleratorConfig(), "sv").text(), ACCELERATOR_TOP, rtl)
    tool = tmp_path / "bin" / "yosys"
    tool.parent.mkdir()
    lines = ["#!/bin/sh", "[ $1 = -V ] && { echo Yosys 0.0; exit; }", "echo $$ >> $PIDS", "exec sleep 300"]
    tool.write_text("\n".join(lines))
    tool.chmod(0o755)
    pids = tmp_path / "pids"
    modules, cache = f"sorted(Path({str(rtl)!r}).glob('*.sv'))", f"Path({str(tmp_path / 'cache')!r})"
    script = (
        "import sys; from pathlib import Path; from lutllm.cost.yosys import synthesize\n"
        f"print('now', file=sys.stderr); synthesize({modules}, {cache}, quiet=True)"
    )
    monkeypatch.setenv("PIDS", str(pids))
    code, errors, seconds = interrupted([sys.executable, "-c", script], "now", tmp_path, str(tool.parent), pids.exists)
    assert "KeyboardInterrupt" in errors and code and seconds < SECONDS
    assert pids.read_text().split() and not any(alive(int(pid)) for pid in pids.read_text().split())
