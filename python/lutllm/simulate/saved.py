"""Runs programs that `lutllm compile --layers` wrote: scheduled IR and memory image in, cycles and comparison out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lutllm import dialect, store
from lutllm.accelerator.activations import Activations
from lutllm.accelerator.hardware import build
from lutllm.bindings import ir
from lutllm.errors import InputError
from lutllm.lowering.levels import check_level
from lutllm.simulate.axi_port import AxiTiming
from lutllm.simulate.simulator import Simulator

_IR = ".scheduled.mlir"


def simulate_saved(
    directory: Path,
    program: str | None = None,
    *,
    simulator: str = "arc",
    latency: int | None = None,
    stalls: int = 0,
    seed: int = 0,
    trace: tuple[int, int] | None = None,
    wave: str | None = None,
) -> list[dict[str, Any]]:
    """Run `program` (or all) of a compiled `directory` and compare with the golden results saved beside it.

    `latency` in cycles (without one, that of the machine), `stalls` a chance in 256, both for every port. With `trace`
    (first cycle, cycles) the last program's waveform goes to `wave`. Raises `InputError` for a missing program or an
    image that does not fit.
    """
    machines: dict[int, Simulator] = {}
    reports = []
    for name in _programs(directory, program):
        saved = Activations(_module(directory / "ir" / f"{name}{_IR}"), {}, np.zeros(0, np.uint8))
        image = _image(directory / "mem" / f"{name}.bin")
        expected = store.load(directory / "mem" / f"{name}.expected.safetensors")
        golden = {label: expected.require(label) for label in expected}
        config = saved.plan.config
        if config.identity not in machines:
            machines[config.identity] = build(config, simulator, directory / "rtl")
        tokens = len(next(iter(golden.values())))
        options: dict[str, Any] = {"trace": trace} if trace else {}
        answers = saved.plan.latency if latency is None else latency
        timing = AxiTiming(latency=answers, stall_address=stalls, stall_data=stalls, stall_response=stalls)
        found = saved.run_image(
            machines[config.identity], image, tokens, golden, timing=timing, seed=seed + 1, **options
        )
        if wave and found.run.result.trace is not None:
            found.run.result.trace.write_vcd(wave)
        reports.append(
            {
                "program": name,
                "linears": len(found.outputs),
                "cycles": found.run.cycles,
                "cycles_per_second": found.run.result.cycles_per_second,
                "equal": found.equal,
                "mismatches": [str(mismatch) for mismatch in found.mismatches],
            }
        )
    return reports


def _programs(directory: Path, program: str | None) -> list[str]:
    """Those with results beside them: the tokens of a whole model are `lutllm diff`'s to compare."""
    names = [
        path.name.removesuffix(".expected.safetensors") for path in (directory / "mem").glob("*.expected.safetensors")
    ]
    there = sorted(name for name in names if (directory / "ir" / f"{name}{_IR}").is_file())
    if not there:
        raise InputError(f"'{directory}': expected linears of lutllm compile, got {store.what_is(directory)}")
    if program is not None and program not in there:
        raise InputError(f"expected a program among {', '.join(there)}, got '{program}'")
    return there if program is None else [program]


def _module(path: Path) -> ir.Module:
    context = dialect.context()
    with context, ir.Location.unknown():
        try:
            module = ir.Module.parse(path.read_text())
        except (ir.MLIRError, OSError, UnicodeDecodeError) as error:
            raise InputError(f"'{path}': expected scheduled IR, got {error}; compile again") from error
        if not dialect.verify(module):
            raise InputError(f"'{path}': expected scheduled IR that verifies; compile again")
        check_level(module, "scheduled")
        return module


def _image(path: Path) -> np.ndarray:
    try:
        return np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"'{path}': expected a memory image, got {error.strerror}; compile again") from error
