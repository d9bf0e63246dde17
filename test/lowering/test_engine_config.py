"""What the generator cannot build is refused with the same words by the configurations and by the ops; what they
accept, it builds."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from lutllm import dialect
from lutllm.bindings import capture_diagnostics, ir
from lutllm.dialect.machines import builders as placement_builders
from lutllm.dialect.machines.limits import ENGINE_RANGES, MACHINE_RANGES
from lutllm.errors import CapacityError
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.lowering.machine.targets import find_target

TINY = find_target("tiny").engine
PORTS = TINY.port_bits
LINEARS = AcceleratorConfig(TINY, ("linear", "feed", "load", "save"), head_lanes=8, kv_bits=64, context=40)


def refused(engine: dict[str, Any], machine: dict[str, Any]) -> str:
    """What the verifiers say of a lut.machine that is LINEARS but for these attributes."""
    sizes = {name: getattr(LINEARS, name) for name in MACHINE_RANGES if hasattr(LINEARS, name)}
    sizes |= dict(engines=LINEARS.engines, latency=64, memory_bytes=1 << 20) | machine
    with dialect.context() as ctx, ir.Location.unknown(), capture_diagnostics(ctx) as seen:
        module = ir.Module.create()
        with ir.InsertionPoint(module.body), placement_builders.machine("m", **sizes):
            placement_builders.linear_engine(**(TINY.to_dict() | engine))
        with pytest.raises(ir.MLIRError):
            module.operation.verify()
    return seen[0].message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(pairs=0), "expected pairs in 1..1024, got 0; change it"),
        (dict(row_entries=8), "expected row_entries = 16, got 8; change it"),
        (dict(row_writes=3), "expected row_writes to be a power of two, got 3; change it"),
        (dict(row_writes=32), "expected row_writes in 1..16, got 32; change it"),
        (dict(sum_chains=4), "expected sum_chains to divide pairs = 2, got 4; change either"),
        (dict(operand_bits=12), "expected operand_bits = 16, got 12; change it"),
        (dict(acc_bits=24), "expected acc_bits = 32, got 24; change it"),
        (dict(term_bits=4, table_bits=4), "expected term_bits in 8..31, got 4; change it"),
        (dict(table_bits=12, term_bits=10), "expected table_bits of at most term_bits = 10, got 12; change either"),
        (dict(acc_words=1 << 17), "expected acc_words in 1..65536, got 131072; change it"),
        (dict(tokens=65), "expected tokens of at most acc_words = 64, got 65; change either"),
        (dict(metric="l3"), "expected metric to be one of chebyshev, l2, got l3; change it"),
        (dict(row_sources=()), "expected row_sources among .*exact_row.*, got none; change them"),
        (dict(row_sources=("built_row", "hearsay")), "expected row_sources among .*, got hearsay; change them"),
        (dict(chains=3), "expected chains to divide centroids = 16, got 3; change either"),
        (dict(requant_lanes=2), "expected requant_lanes in 4..32, got 2; change it"),
        (dict(requant_lanes=12), "expected requant_lanes to be a power of two, got 12; change it"),
        (dict(requant_lanes=16), "expected requant_lanes to divide lanes = 8, got 16; change either"),
        (dict(pairs=3), "expected 2 \\* pairs = 6 and requant_lanes to divide each other, got 4; change either"),
        (dict(weight_ports=4), "expected weight_ports to divide pairs = 2, got 4; change either"),
        (dict(burst_beats=12), "expected burst_beats to be a power of two, got 12; change it"),
        (dict(codes_depth=1), "expected codes_depth in 2..65536, got 1; change it"),
        (dict(port_bits={"w": 64}), "expected port_bits of w, c, q, got w; change them"),
        (dict(port_bits={}), "expected port_bits of w, c, q, got none; change them"),
        (dict(port_bits={**PORTS, "q": 48}), "expected port_bits of q among 32, 64, .*, 1024, got 48; change it"),
    ],
)
def test_engines_that_cannot_be_built(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CapacityError, match=f"engine: {message}"):
        replace(TINY, **changes)
    assert re.fullmatch(f"'lut.linear_engine' op {message}", refused(changes, {}))


@pytest.mark.parametrize(
    ("changes", "message", "op"),
    [
        (dict(context=0), "expected context in 1..1048576, got 0; change it", "machine"),
        (dict(item_words=1 << 17), "expected item_words in 1..65536, got 131072; change it", "machine"),
        (dict(watchdog=0), "expected watchdog in 1..2147483647, got 0; change it", "machine"),
        (dict(head_lanes=12), "expected head_lanes to be a power of two, got 12; change it", "machine"),
        (dict(head_words=256), "expected head_words in 1..255, got 256; change it", "machine"),
        (dict(engines=("feed", "linear", "load", "save")),
         "expected engines among linear, feed, .*, in this order, got feed, linear, .*; change them", "machine"),
        (dict(engines=("linear", "feed", "load", "save", "fft")), "expected engines among .*; change them", "machine"),
        (dict(engines=("linear", "feed", "load", "save", "save")), "expected engines among .*; change them", "machine"),
        (dict(head_words=3), "expected head_words to be a multiple of 2, a beat of head_lanes, got.*", "linear_engine"),
    ],
)  # fmt: skip
def test_machines_that_cannot_be_built(changes: dict[str, Any], message: str, op: str) -> None:
    with pytest.raises(CapacityError, match=f"accelerator: {message}"):
        replace(LINEARS, **changes)
    assert re.fullmatch(f"'lut.{op}' op {message}", refused({}, changes))


def test_heads_narrower_than_vector_words() -> None:
    wide = dict(lanes=32, requant_lanes=32, pairs=16, port_bits={**PORTS, "w": 1024})
    message = "expected head_lanes to be a multiple of requant_lanes = 32, got 8; change either"
    with pytest.raises(CapacityError, match=message):
        replace(LINEARS, engine=replace(TINY, **wide))
    assert refused(wide, {}) == f"'lut.linear_engine' op {message}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(port_bits={**PORTS, "q": 512}), "expected port q at most 256 bits wide, as its word is, got 512"),
        (dict(pairs=1024, weight_ports=64, chains=16, port_bits=dict(w=128, c=32, q=64)),
         "expected port c to need at most 255 beats for a word of 524288 bits, got 16384; use a wider port"),
        (dict(pairs=16), "expected port w to give each of its 16 engines whole bytes, got 64 bits; widen it"),
        (dict(centroids=1024, act_stages=4, table_bits=16, pairs=8), "expected tables and codes of fewer than 65536"),
    ],
)  # fmt: skip
def test_ports_that_are_too_narrow_or_too_wide(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CapacityError, match=f"engine: {message}"):
        replace(TINY, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        dict(term_bits=8),
        dict(out_bits=32, term_bits=31, table_bits=24),
        dict(acc_words=1 << 16),
        dict(pairs=1, chains=1, port_bits={**PORTS, "c": 32}),
        dict(row_sources=("exact_row",), pairs=1, port_bits={**PORTS, "c": 32}),
        dict(row_sources=("exact_row",), pairs=1024, weight_ports=64, port_bits={"w": 128, "c": 128, "q": 64}),
        dict(tokens=1, acc_words=1),
        dict(codes_depth=2, outstanding=1, burst_beats=1),
        dict(codes_depth=2, row_writes=1),
        dict(pairs=256, row_writes=8, sum_chains=256, weight_ports=64, port_bits={"w": 32, "c": 128, "q": 64}),
    ],
)
def test_the_edges_of_what_is_accepted_build(changes: dict[str, Any]) -> None:
    design = accelerator_to_hw(replace(LINEARS, engine=replace(TINY, **changes)), "sv")
    assert ACCELERATOR_TOP in design.modules


def test_every_size_has_a_range() -> None:
    assert set(ENGINE_RANGES) == {name for name, value in vars(EngineConfig()).items() if isinstance(value, int)}
