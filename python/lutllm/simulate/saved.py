"""Runs programs that `lutllm compile` wrote: accelerator IR and memory image in, cycles and comparison out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lutllm import dialect, store
from lutllm.bindings import ir
from lutllm.errors import InputError
from lutllm.lowering.levels import check_level
from lutllm.lowering.program import Program, read_program
from lutllm.simulate.axi_port import AxiTiming
from lutllm.simulate.program import compare, engine_simulator, run_image
from lutllm.simulate.simulator import Simulator

_IR = ".accelerator.mlir"


def simulate_saved(
    directory: Path,
    program: str | None = None,
    *,
    simulator: str = "arc",
    latency: int = 64,
    stalls: int = 0,
    seed: int = 0,
    trace: tuple[int, int] | None = None,
    wave: str | None = None,
) -> list[dict[str, Any]]:
    """Run `program` (or all) of a compiled `directory` and compare with the golden results saved beside it.

    `latency` in cycles, `stalls` a chance in 256, both for every port. With `trace` (first cycle, cycles) the last
    program's waveform goes to `wave`. Raises `InputError` for a missing program or an image that does not fit.
    """
    names = _programs(directory, program)
    timing = AxiTiming(latency=latency, stall_address=stalls, stall_data=stalls, stall_response=stalls)
    machines: dict[str, Simulator] = {}
    reports = []
    for name in names:
        loaded = _program(directory / "ir" / f"{name}{_IR}")
        image = _image(directory / "mem" / f"{name}.bin", loaded)
        key = repr(loaded.engine)
        if key not in machines:
            machines[key] = engine_simulator(loaded.engine, simulator, directory / "rtl")
        run = run_image(
            loaded, image, machines[key], timing=timing, seed=seed + 1, **({"trace": trace} if trace else {})
        )
        golden = store.load(directory / "mem" / f"{name}.expected.safetensors")
        wrong = compare(run, {linear: golden.require(linear) for linear in run.outputs})
        if wave and run.result.trace is not None:
            run.result.trace.write_vcd(wave)
        reports.append(
            {
                "program": name,
                "linears": len(run.outputs),
                "cycles": run.result.cycles,
                "cycles_per_second": run.result.cycles_per_second,
                "equal": not wrong,
                "mismatches": [str(mismatch) for mismatch in wrong],
            }
        )
    return reports


def _programs(directory: Path, program: str | None) -> list[str]:
    there = sorted(path.name.removesuffix(_IR) for path in (directory / "ir").glob(f"*{_IR}"))
    if not there:
        raise InputError(f"'{directory}': expected the output of lutllm compile, got no ir/*{_IR}")
    if program is not None and program not in there:
        raise InputError(f"expected a program among {', '.join(there)}, got '{program}'")
    return there if program is None else [program]


def _program(path: Path) -> Program:
    context = dialect.context()
    with context, ir.Location.unknown():
        try:
            module = ir.Module.parse(path.read_text())
        except (ir.MLIRError, OSError, UnicodeDecodeError) as error:
            raise InputError(f"'{path}': expected accelerator IR, got {error}; compile again") from error
        if not dialect.verify(module):
            raise InputError(f"'{path}': expected accelerator IR that verifies; compile again")
        check_level(module, "accelerator")
        return read_program(module)


def _image(path: Path, program: Program) -> np.ndarray:
    try:
        image = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"'{path}': expected a memory image, got {error.strerror}; compile again") from error
    if image.size != program.memory_bytes:
        raise InputError(
            f"'{path}': expected an image of {program.memory_bytes} bytes as the memory map says, got {image.size}; "
            "compile again"
        )
    return image
