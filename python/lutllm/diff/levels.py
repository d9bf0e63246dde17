"""Which levels can be compared, and the comparison of several: each with the transaction level, which has all tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from lutllm.diff.difference import Comparison, DiffResult
from lutllm.diff.golden import compare_golden
from lutllm.diff.hardware import compare_hardware
from lutllm.diff.outcome import compare_outcome
from lutllm.diff.recording import Recording
from lutllm.errors import InputError
from lutllm.progress import note
from lutllm.simulate.simulator import Simulator

LEVELS = {
    "lut": "the golden model",
    "transaction": "the plan's tasks with the golden model's integers",
    "hw": "hardware, by the arc JIT",
    "rtl": "SystemVerilog, by Verilator: tokens and what is written to memory",
}
DEFAULT = ("lut", "transaction", "hw")


def check_levels(levels: Sequence[str]) -> list[str]:
    """The levels to compare with `transaction`, in order; `InputError` where there is none, or an unknown one."""
    unknown = [level for level in levels if level not in LEVELS]
    wanted = [level for level in LEVELS if level in levels and level != "transaction"]
    if unknown or not wanted:
        got = ", ".join(unknown) or ", ".join(levels) or "nothing"
        raise InputError(f"expected levels to compare among {', '.join(LEVELS)}, got {got}; name two")
    return wanted


def compare_levels(
    recorded: Recording,
    image: np.ndarray,
    levels: Sequence[str],
    build: Callable[[str], Simulator],
    *,
    wave: Path | None = None,
    quiet: bool = False,
) -> DiffResult:
    """Compare each of `levels` with what was recorded. `build` makes a simulator, "arc" or "verilator"; `image` is what
    it runs."""
    found: list[Comparison] = []
    for level in check_levels(levels):
        note(f"{level}: {LEVELS[level]}", quiet=quiet)
        if level == "lut":
            found.append(compare_golden(recorded, quiet=quiet))
        elif level == "hw":
            found.append(compare_hardware(recorded, build("arc"), image, wave=wave, quiet=quiet))
        else:
            found.append(compare_outcome(recorded, build("verilator"), image, level))
    return DiffResult(recorded.prompt, recorded.tokens, found)
