"""`EngineConfig`: what the generator cannot build is refused with a reason; what it accepts, it builds.

What `lut.linear_engine` refuses as well is tested with its verifier; here, that it is refused.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from lutllm.dialect.machine_limits import ENGINE_RANGES
from lutllm.errors import CapacityError
from lutllm.lowering.accelerator import AcceleratorConfig
from lutllm.lowering.accelerator_to_hw import accelerator_to_hw
from lutllm.lowering.engine import EngineConfig
from lutllm.lowering.targets import TARGETS

TINY = vars(TARGETS["tiny"].engine)
PORTS = TINY["port_bits"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(pairs=0), "engine: expected pairs in 1..1024, got 0"),
        (dict(port_bits={**PORTS, "c": 256}), "expected port c at most 128 bits wide, as its word is, got 256; use a"),
        (dict(port_bits={**PORTS, "q": 512}), "expected port q at most 256 bits wide, as its word is, got 512; use a"),
        (
            dict(pairs=128, port_bits={**PORTS, "c": 32}),
            "expected port c to need at most 255 beats for a word of 8192 bits, got 256; use a wider port",
        ),
        (
            dict(pairs=6, weight_ports=2),
            "expected port w to give each of its 3 engines whole bytes, got 64 bits; widen",
        ),
        (
            dict(pairs=4, centroids=1024, chains=1, act_stages=4, table_bits=24),
            "expected tables and codes of fewer than 65536 units of port w, got 98304; widen port w",
        ),
    ],
)
def test_what_cannot_be_built_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CapacityError, match=message):
        EngineConfig(**{**TINY, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        dict(term_bits=8),
        dict(out_bits=32, term_bits=31, table_bits=24),
        dict(acc_words=1 << 16),
        dict(pairs=1, act_stages=1, chains=1, port_bits={**PORTS, "c": 32}),
        dict(row_sources=("exact_row",), pairs=1, port_bits={**PORTS, "c": 32}),
        dict(tokens=1, acc_words=1),
        dict(codes_depth=2, outstanding=1, burst_beats=1),
    ],
)
def test_the_edges_of_what_is_accepted_build(changes: dict[str, Any]) -> None:
    engine = EngineConfig(**{**TINY, **changes})
    machine = AcceleratorConfig(engine, ("linear", "feed", "load", "save"), head_lanes=engine.requant_lanes)
    assert "linear_core" in accelerator_to_hw(machine, "sv").modules


def test_every_size_has_a_range() -> None:
    assert set(ENGINE_RANGES) == {field.name for field in fields(EngineConfig) if isinstance(TINY[field.name], int)}
