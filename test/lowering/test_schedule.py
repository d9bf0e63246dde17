"""The schedule: rounds that cover every output once, a memory map that fits, and a reason where one does not."""

import itertools
import re
from dataclasses import replace
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.errors import CapacityError, InputError, IRError
from lutllm.lowering.engine import MODES, EngineConfig
from lutllm.lowering.lut_to_accelerator import write_program
from lutllm.lowering.program import Program, read_program
from lutllm.lowering.schedule import ALIGNMENT, Layer, engine_for, schedule
from lutllm.lowering.targets import TARGETS, find_target
from lutllm.scheme import ADDITIVE, EXACT, PAPER, Scheme

TINY = TARGETS["tiny"].engine
NARROW = TINY.port_bits | {"x": 32, "c": 64}
SCHEME = Scheme(c_a=16)


def layer(name: str = "q", **changes: Any) -> Layer:
    values = dict(pairs=5, outputs=20, tokens=3, scheme=SCHEME, row_source="built_row", shift=20) | changes
    return Layer(name, **values)


def check_program(program: Program, layers: list[Layer]) -> None:
    """Everything a program promises, whatever was scheduled."""
    engine = program.engine
    regions = sorted(program.regions.values(), key=lambda region: region.address)
    assert all(region.address % ALIGNMENT == 0 and region.size > 0 for region in regions)
    assert all(a.address + a.size <= b.address for a, b in itertools.pairwise(regions))
    assert program.memory_bytes == regions[-1].address + regions[-1].size
    assert program.descriptors.size == len(program.rounds) * engine.descriptor_words * 8
    for made in layers:
        rounds = [r for r in program.rounds if r.linear == made.name]
        cells = [
            (t, o)
            for r in rounds
            for t in range(r.token_offset, r.token_offset + r.tokens)
            for o in range(r.output_offset, r.output_offset + r.outputs)
        ]
        assert sorted(cells) == list(itertools.product(range(made.tokens), range(made.outputs)))  # each once
        for r in rounds:
            assert r.tokens <= engine.tokens and r.tokens * r.chunks <= engine.acc_words
            assert r.output_offset % made.scheme.G == 0 and r.groups == -(-made.pairs // engine.pairs)
            sizes = [r.block_size(block) for block in range(r.blocks)]
            assert sum(sizes) == r.chunks and all(0 < size <= r.block_chunks for size in sizes)
            assert r.blocks == -(-r.outputs // made.scheme.G)
            kinds = [program.regions[name].kind for name in (r.x, r.c, r.q, r.y, *r.w)]
            assert kinds == ["x", "c", "q", "y"] + ["w"] * engine.weight_ports
            assert [program.regions[name].port for name in r.w] == list(range(engine.weight_ports))
            assert r.steps * engine.pairs * engine.lanes >= r.lookups
    assert len({r.y for r in program.rounds}) == len(program.rounds)


shapes = st.tuples(
    st.integers(1, 40),
    st.integers(1, 200),
    st.integers(1, 20),
    st.integers(1, 3),
    st.integers(1, 64),
    st.sampled_from(MODES),
)  # pairs, outputs, tokens, R, G, row source


@hypothesis.given(
    st.lists(shapes, min_size=1, max_size=4), st.integers(1, 8), st.integers(1, 3), st.sampled_from([1, 2])
)
def test_any_layers_are_covered_once_without_overlap(
    wanted: list[tuple[int, int, int, int, int, str]], tokens: int, lanes: int, ports: int
) -> None:
    engine = replace(TINY, tokens=tokens, lanes=4 * lanes, weight_ports=ports, acc_words=64)
    layers = []
    for i, (pairs, outputs, count, stages, block, source) in enumerate(wanted):
        base = EXACT if source == "exact_row" else SCHEME
        scheme = base.with_(R=stages, G=block)
        layers.append(layer(f"l{i}", pairs=pairs, outputs=outputs, tokens=count, scheme=scheme, row_source=source))
    check_program(schedule(layers, engine, 1 << 30), layers)


def test_one_round_where_all_fits() -> None:
    (round_,) = schedule([layer()], TINY, 1 << 24).rounds
    assert (round_.name, round_.tokens, round_.groups, round_.blocks, round_.chunks) == ("q.0.0", 3, 3, 1, 3)
    assert (round_.steps, round_.lookups) == (3 * 3 * 3, 5 * 20 * 3)


def test_fewer_tokens_leave_room_for_more_outputs() -> None:
    """The accumulator's 64 words are shared out: 16 chunks of 8 lanes for 4 tokens, 64 chunks for one."""
    for tokens, outputs in ((4, 128), (3, 168), (1, 512)):
        ranges = [layer(tokens=tokens, outputs=outputs + more, scheme=SCHEME.with_(G=8)) for more in (0, 1)]
        assert [len(schedule([made], TINY, 1 << 24).rounds) for made in ranges] == [1, 2]


def test_token_steps_share_weights_and_output_ranges_share_inputs() -> None:
    wide = layer(outputs=150, tokens=6, scheme=SCHEME.with_(G=24))
    rounds = schedule([wide], TINY, 1 << 24).rounds
    assert [(r.token_offset, r.output_offset, r.outputs) for r in rounds] == [
        (0, 0, 120), (4, 0, 120), (0, 120, 30), (4, 120, 30),
    ]  # fmt: skip
    assert len({r.w for r in rounds}) == len({r.q for r in rounds}) == len({r.x for r in rounds}) == 2
    assert len({r.c for r in rounds}) == 1 and len({r.y for r in rounds}) == 4


@pytest.mark.parametrize(
    ("changes", "engine", "message"),
    [
        (dict(scheme=ADDITIVE), {}, "q: expected at most 1 activation stages on this engine, got 2; use a larger"),
        (dict(scheme=PAPER), {}, "q: expected at most 16 activation centroids on this engine, got 64"),
        ({}, dict(operand_bits=12, port_bits=NARROW), "at most 12 bits of an input on this engine, got 16"),
        ({}, dict(weight_bits=6), "at most 6 bits of a weight centroid on this engine, got 8"),
        ({}, dict(term_bits=20), "at most 20 bits of a row entry on this engine, got 24"),
        (dict(row_source="built_table"), dict(table_bits=6), "at most 6 bits of a table entry on this engine, got 8"),
        (dict(pairs=1 << 17), {}, "at most 65535 groups of pairs on this engine, got 65536"),
        ({}, dict(out_bits=16), "q: expected out_bits = 16 as the engine has, got 24"),
        (
            {},
            dict(row_sources=("exact_row", "stored_table")),
            "q: expected a row source among exact_row, stored_table, got built_row; build the engine with it",
        ),
        (dict(scheme=SCHEME.with_(metric="l2")), {}, "q: expected metric chebyshev as the engine has, got l2"),
        (
            dict(outputs=600),
            dict(acc_words=64),
            "q: expected an accumulator of at least 75 words for one block of 1048576 outputs, got 64; use",
        ),
    ],
)  # fmt: skip
def test_what_an_engine_is_too_small_for(changes: dict[str, Any], engine: dict[str, Any], message: str) -> None:
    if "outputs" in changes:
        changes = changes | dict(scheme=SCHEME.with_(G=1 << 20))
    with pytest.raises(CapacityError, match=re.escape(message)):
        schedule([layer(**changes)], replace(TINY, **engine), 1 << 30)


def test_an_exact_layer_does_not_need_the_metric_or_tables() -> None:
    exact = layer(scheme=EXACT.with_(metric="l2"), row_source="exact_row")
    assert len(schedule([exact], replace(TINY, table_bits=4), 1 << 24).rounds) == 1


def test_nothing_to_schedule() -> None:
    with pytest.raises(CapacityError, match="expected at least one linear to schedule, got none; run torch-to-lut and"):
        schedule([], TINY, 1 << 24)


def test_memory_limit_is_exact() -> None:
    size = schedule([layer()], TINY, 1 << 24).memory_bytes
    assert size % ALIGNMENT  # the last region need not fill its page
    whole = -(-size // ALIGNMENT) * ALIGNMENT
    schedule([layer()], TINY, whole)
    message = f"memory map: expected at most {whole - ALIGNMENT} bytes, got {whole} with region program of 96"
    with pytest.raises(CapacityError, match=message):
        schedule([layer()], TINY, whole - ALIGNMENT)


def test_the_engine_for_schemes() -> None:
    base = TARGETS["small"].engine
    engine = engine_for([PAPER, ADDITIVE, EXACT], base)
    assert (engine.centroids, engine.act_stages, engine.row_sources) == (64, 2, base.row_sources)
    assert engine_for([EXACT], base).row_sources == ("exact_row",)
    assert engine_for([EXACT], base).centroids == base.chains  # as few as there can be
    assert engine_for([PAPER], base).row_sources == ("built_row", "built_table", "stored_table")
    odd = engine_for([SCHEME.with_(c_a=13, table_bits=10, term_bits=28, out_bits=20, metric="l2")], base)
    assert (odd.centroids, odd.table_bits, odd.term_bits, odd.out_bits, odd.metric) == (16, 10, 28, 20, "l2")
    with pytest.raises(CapacityError, match="expected one metric for an engine, got chebyshev, l2"):
        engine_for([PAPER, PAPER.with_(metric="l2")], base)
    assert engine_for([PAPER, EXACT.with_(metric="l2")], base).metric == "chebyshev"  # exact rows search nothing


def test_targets() -> None:
    assert isinstance(find_target("tiny").engine, EngineConfig)
    with pytest.raises(InputError, match="expected a target among tiny, small, got 'huge'"):
        find_target("huge")


def through_ir(program: Program) -> Program:
    """Written as IR, verified, printed, parsed, read."""
    with dialect.context(), ir.Location.unknown():
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            locations = {round_.linear: ir.Location.unknown() for round_ in program.rounds}
            write_program(program, locations)
        assert dialect.verify(module)
        return read_program(ir.Module.parse(str(module)))


def test_program_is_the_same_after_a_trip_through_ir() -> None:
    engine = replace(TINY, pairs=4, weight_ports=2, metric="l2", row_sources=("exact_row", "stored_table"))
    layers = [
        layer("model.layers.0.q", scheme=SCHEME.with_(metric="l2", G=8), row_source="stored_table", tokens=9),
        layer("k", scheme=EXACT.with_(G=7), row_source="exact_row", outputs=33),
    ]
    program = schedule(layers, engine, 1 << 24)
    assert through_ir(program) == program
    assert through_ir(schedule([layer()], TINY, 1 << 24)) == schedule([layer()], TINY, 1 << 24)


@pytest.mark.parametrize("count", [0, 2])
def test_a_program_has_one_engine(count: int) -> None:
    with dialect.context(), ir.Location.unknown():
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            for i in range(count):
                config = TINY.to_dict()
                named = {key: config.pop(key) for key in ("metric", "row_sources", "port_bits")}
                dialect.engine(f"engine{i}", **named, **config)
        with pytest.raises(
            IRError, match=f"expected one lut.engine in the module, got {count}; run lut-to-accelerator"
        ):
            read_program(module)
