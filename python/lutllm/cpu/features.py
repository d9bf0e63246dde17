"""Which kernels this processor can run: flags of /proc/cpuinfo in, a feature level out."""

import os
from pathlib import Path

from lutllm.errors import InputError
from lutllm.lowering.cpu.layout import LEVELS

OVERRIDE = "LUTLLM_CPU"
_NEEDS = {
    "portable": set(),
    "avx2": {"avx2"},
    "avx512": {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"},
}


def processor_flags(path: Path = Path("/proc/cpuinfo")) -> set[str]:
    """The flags of the first processor; none where the system does not say."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())


def available_levels(flags: set[str] | None = None) -> tuple[str, ...]:
    """The levels this processor has, the best last."""
    have = processor_flags() if flags is None else flags
    return tuple(level for level in LEVELS if _NEEDS[level] <= have)


def choose_level(wanted: str | None = None) -> str:
    """`wanted`, or what the variable LUTLLM_CPU names, or the best; InputError where this processor lacks it."""
    levels = available_levels()
    level = wanted or os.environ.get(OVERRIDE) or levels[-1]
    if level not in levels:
        raise InputError(f"expected a feature level of this processor, {', '.join(levels)}, got '{level}'; choose one")
    return level


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))
