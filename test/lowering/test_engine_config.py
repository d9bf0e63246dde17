"""`EngineConfig`: what the generator cannot build is refused with a reason; what it accepts, it builds."""

import pytest

from lutllm.dialect.accelerator import ENGINE_RANGES
from lutllm.errors import CapacityError
from lutllm.lowering.accelerator_to_hw import engine_to_hw
from lutllm.lowering.engine import EngineConfig
from lutllm.lowering.targets import TARGETS

TINY = TARGETS["tiny"].engine.to_dict()
PORTS = TINY["port_bits"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(pairs=0), "expected pairs in 1..1024, got 0"),
        (dict(row_entries=8), "expected row_entries = 16, got 8"),
        (dict(acc_bits=24), "expected acc_bits = 32, got 24"),
        (dict(term_bits=4, table_bits=4), "expected term_bits in 8..31, got 4"),
        (dict(table_bits=12, term_bits=10), "expected table_bits <= term_bits = 10, got 12"),
        (dict(acc_words=1 << 17), "expected acc_words in 1..65536, got 131072"),
        (dict(tokens=65), "expected tokens <= acc_words = 64, got 65"),
        (dict(metric="l3"), "expected metric chebyshev or l2, got 'l3'"),
        (dict(row_sources=()), "expected row_sources from exact_row, .* got none"),
        (dict(row_sources=("hearsay",)), "got hearsay"),
        (dict(chains=3), "expected centroids = 16 to be a multiple of chains, got 3"),
        (dict(requant_lanes=3), "expected lanes = 8 to be a multiple of requant_lanes, got 3"),
        (dict(pairs=3, weight_ports=2), "expected pairs = 3 to be a multiple of weight_ports, got 2"),
        (dict(burst_beats=12), "expected burst_beats to be a power of two, got 12"),
        (dict(codes_depth=1), "expected codes_depth in 2..65536, got 1"),
        (dict(port_bits={"w": 64}), "expected port_bits for w, x, c, q, y, got w"),
        (dict(port_bits={**PORTS, "x": 48}), "expected port x to be 32, 64, 128, 256, 512, 1024 bits wide, got 48"),
        (dict(port_bits={**PORTS, "x": 128}), "expected port x at most 64 bits wide, as its word is, got 128"),
        (
            dict(port_bits={**PORTS, "q": 32}, lanes=2048, requant_lanes=128),
            "expected port q to need at most 255 beats",
        ),
        (dict(pairs=3), "expected port w to give each of its 3 engines whole bytes, got 64 bits"),
    ],
)
def test_what_cannot_be_built_is_refused(changes, message):
    with pytest.raises(CapacityError, match=message):
        EngineConfig(**{**TINY, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        dict(term_bits=8),
        dict(out_bits=32, term_bits=31, table_bits=24),
        dict(acc_words=1 << 16),
        dict(pairs=1, operand_bits=8, act_stages=1, chains=1, port_bits={**PORTS, "x": 32, "c": 32}),
        dict(row_sources=("exact_row",), pairs=1, port_bits={**PORTS, "x": 32, "c": 32}),
        dict(tokens=1, acc_words=1),
        dict(codes_depth=2, outstanding=1, burst_beats=1),
    ],
)
def test_the_edges_of_what_is_accepted_build(changes):
    design = engine_to_hw(EngineConfig(**{**TINY, **changes}), "sv")
    assert "lut_linear" in design.modules


def test_every_size_has_a_range():
    sizes = {name for name, value in TINY.items() if isinstance(value, int)}
    assert set(ENGINE_RANGES) == sizes
