"""Targets: named engines and the memory they have. Data only; `lut-place{target=NAME}` picks one."""

from __future__ import annotations

from dataclasses import dataclass

from lutllm.errors import InputError
from lutllm.lowering.machine.engine import EngineConfig

MEMORY_LATENCY = 64  # cycles from an address to its first beat, where nothing else is said


@dataclass(frozen=True)
class Target:
    """`engine` is widened to the schemes it must run; `memory_bytes` bounds the memory map.

    The accelerator around it works on `head_lanes` channels of a head a cycle and holds a sequence of `context` tokens
    at most; its FIFOs hide a memory that answers after `latency` cycles.
    """

    summary: str
    engine: EngineConfig
    memory_bytes: int
    head_lanes: int = 64
    context: int = 2048
    latency: int = MEMORY_LATENCY


TARGETS = {
    "tiny": Target(
        "2 pairs x 8 lanes; simulates in milliseconds, for tests",
        EngineConfig(
            pairs=2,
            lanes=8,
            centroids=16,
            chains=2,
            requant_lanes=4,
            tokens=4,
            acc_words=64,
            codes_depth=4,
            port_bits={"w": 64, "c": 128, "q": 64},
        ),
        1 << 24,
        head_lanes=8,
        context=128,
    ),
    "small": Target(
        "4 pairs x 64 lanes, one 512-bit weight port; simulates a layer of a small model in seconds",
        EngineConfig(),
        1 << 30,
    ),
}


def find_target(name: str) -> Target:
    if name not in TARGETS:
        raise InputError(f"expected a target among {', '.join(TARGETS)}, got '{name}'")
    return TARGETS[name]
