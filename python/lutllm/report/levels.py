"""The longest logic paths of an accelerator against what its clocks allow: a configuration in, a table out."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from lutllm.cost.levels import budget, levels, slowest
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.hardware.top import BUS_CLOCK
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.machine.targets import Clock
from lutllm.report.text import align

MOST = 10  # modules that a table shows of those within their budget


@dataclass(frozen=True)
class PathLevels:
    """The longest path of a module, of those that lie in none that it instantiates: an estimate of its LUT `levels`
    (`lutllm.cost.levels`), and those that `mhz` allow."""

    module: str
    levels: int
    budget: int
    mhz: float
    begin: str
    end: str


def longest_paths(config: AcceleratorConfig, clock: Clock) -> list[PathLevels]:
    """Of every module, those first that go beyond their budget most."""
    design = accelerator_to_hw(config, "sv")
    mhz = {"ap_clk": clock.core_mhz, BUS_CLOCK: clock.memory_mhz}
    return [
        PathLevels(module.removeprefix(design.prefix), ceil(path.levels - 1e-9), budget(mhz), mhz, path.begin, path.end)
        for module, mhz, path in slowest(levels(design), ACCELERATOR_TOP, mhz)
    ]


def levels_table(paths: list[PathLevels]) -> str:
    """All modules beyond their budget, and of the others those that come nearest."""
    beyond = sum(path.levels > path.budget for path in paths)
    rows = [
        (path.module, f"{path.levels} of {path.budget}", f"{path.mhz:g}", f"{path.begin} -> {path.end}")
        for path in paths[: max(beyond, MOST)]
    ]
    verdict = f"{beyond} modules have longer paths than their clock allows" if beyond else "all paths are within budget"
    return f"{align([('module', 'logic levels', 'MHz', 'longest path'), *rows])}\n\n{verdict} (estimated)"
