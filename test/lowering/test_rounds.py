"""Rounds that cover every output once and fit the engine; the engine that schemes need; a reason where one is too
small."""

import re
from dataclasses import replace
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.dialect.machines import builders as build
from lutllm.errors import CapacityError
from lutllm.lowering.machine.choice import engine_for
from lutllm.lowering.machine.engine import MODES, EngineConfig
from lutllm.lowering.machine.targets import find_target
from lutllm.lowering.place.clusters import Linear
from lutllm.lowering.place.layouts import Layout
from lutllm.lowering.place.rounds import Round, check_linear, cut, round_of, stream_bytes
from lutllm.lowering.place.space import ALIGNMENT, AddressSpace
from lutllm.scheme import ADDITIVE, EXACT, PAPER, Scheme

TINY = find_target("tiny").engine
SCHEME = Scheme(c_a=16)
X: Any = None  # the value a linear reads: rounds do not look at it


def linear(pairs: int = 5, outputs: int = 20, scheme: Scheme = SCHEME, row_source: str = "built_row") -> Linear:
    exponents, whole = "x.exponents", (outputs, range(outputs))
    return Linear("q", scheme, row_source, pairs, outputs, 20, scheme.out_bits, -9, exponents, X, None, True, *whole)


def inputs(pairs: int) -> Layout:
    return Layout(2 * pairs, 1, 1, 0, 2 * pairs, 4)


def outputs_of(made: Linear, engine: EngineConfig) -> Layout:
    return Layout(made.outputs, 1, 1, 0, min(made.scheme.G, made.outputs), engine.lanes)


def rounds_of(made: Linear, engine: EngineConfig, tokens: int) -> list[Round]:
    """As `lut-allocate` makes them."""
    layout, found = outputs_of(made, engine), []
    with dialect.context(), ir.Location.unknown():
        module = ir.Module.create()
        for first, outputs in cut(made, layout, tokens, engine):
            with ir.InsertionPoint(module.body):
                w = [f"w{port}" for port in range(engine.weight_ports)]
                op: Any = build.round_(f"q.{first}", first=first, outputs=outputs, c="c", q="q", w=w)
            found.append(round_of(op, made, inputs(made.pairs), layout, engine))
    return found


shapes = st.tuples(
    st.integers(1, 40),
    st.integers(1, 200),
    st.integers(1, 3),
    st.integers(1, 64),
    st.sampled_from(MODES),
)  # pairs, outputs, R, G, row source


@hypothesis.given(shapes, st.integers(1, 8), st.integers(1, 3), st.sampled_from([1, 2]))
def test_any_linear_is_covered_once(shape: tuple[int, int, int, int, str], tokens: int, lanes: int, ports: int) -> None:
    pairs, outputs, stages, block, source = shape
    engine = replace(TINY, tokens=tokens, lanes=4 * lanes, weight_ports=ports, acc_words=256)
    scheme = (EXACT if source == "exact_row" else SCHEME).with_(R=stages, G=block)
    made = linear(pairs, outputs, scheme, source)
    layout, rounds = outputs_of(made, engine), rounds_of(made, engine, tokens)
    places = [place for r in rounds for place in range(r.first, r.first + r.outputs)]
    assert places == list(range(layout.size))  # each once, in order
    for r in rounds:
        assert tokens * r.chunks <= engine.acc_words and r.first % layout.block_size == 0
        sizes = [r.block_size(i) for i in range(r.blocks)]
        assert sum(sizes) == r.chunks and all(0 < size <= r.block_chunks for size in sizes)
        assert r.chunks * engine.lanes == r.outputs and r.stages == stages
        assert (r.groups - 1) * engine.pairs < -(-2 * pairs // 4) * 2 <= r.groups * engine.pairs
        assert all(size % (engine.port_bits[kind] // 8) == 0 for kind, size in stream_bytes(r, engine).items())
    assert sum(r.blocks for r in rounds) == scheme.blocks(outputs)
    for one in rounds[:-1]:  # none could take another block
        assert tokens * (one.chunks + one.block_chunks) > engine.acc_words


def test_fewer_tokens_leave_room_for_more_outputs() -> None:
    """The accumulator's 64 words are shared out: 16 chunks of 8 lanes for 4 tokens, 64 chunks for one."""
    for tokens, outputs in ((4, 128), (3, 168), (1, 512)):
        made = [linear(outputs=outputs + more, scheme=SCHEME.with_(G=8)) for more in (0, 1)]
        assert [len(rounds_of(each, TINY, tokens)) for each in made] == [1, 2]


def test_a_block_must_fit() -> None:
    message = "q: expected an accumulator of at least 300 words for 4 tokens of a block of 600 outputs, got 64; use"
    with pytest.raises(CapacityError, match=re.escape(message)):
        rounds_of(linear(outputs=600, scheme=SCHEME.with_(G=1 << 20)), TINY, 4)


@pytest.mark.parametrize(
    ("changes", "engine", "message"),
    [
        (dict(scheme=ADDITIVE), {}, "q: expected at most 1 activation stages on this engine, got 2; use a larger"),
        (dict(scheme=PAPER), {}, "q: expected at most 16 activation centroids on this engine, got 64"),
        ({}, dict(weight_bits=6), "at most 6 bits of a weight centroid on this engine, got 8"),
        ({}, dict(term_bits=20), "at most 20 bits of a row entry on this engine, got 24"),
        (dict(row_source="built_table"), dict(table_bits=6), "at most 6 bits of a table entry on this engine, got 8"),
        (dict(pairs=1 << 17), {}, "at most 65535 groups of pairs on this engine, got 65536"),
        ({}, dict(out_bits=16), "q: expected outputs of 16 bits, as the engine gives them, got 24; quantize all "
                                "linears"),
        (
            {},
            dict(row_sources=("exact_row", "stored_table")),
            "q: expected a row source among exact_row, stored_table, got built_row; build the engine with it",
        ),
        (dict(scheme=SCHEME.with_(metric="l2")), {}, "q: expected metric chebyshev as the engine has, got l2"),
    ],
)  # fmt: skip
def test_what_an_engine_is_too_small_for(changes: dict[str, Any], engine: dict[str, Any], message: str) -> None:
    made = linear(**changes)
    check_linear(linear(), inputs(5), TINY)
    with pytest.raises(CapacityError, match=re.escape(message)):
        check_linear(made, inputs(made.pairs), replace(TINY, **engine))


def test_an_exact_linear_does_not_need_the_metric_or_tables() -> None:
    exact = linear(scheme=EXACT.with_(metric="l2"), row_source="exact_row")
    check_linear(exact, inputs(5), replace(TINY, table_bits=4))


def test_regions_follow_each_other_up_to_the_limit() -> None:
    space = AddressSpace(3 * ALIGNMENT)
    first, second = space.add("a", "p", ALIGNMENT + 1), space.add("b", "p", 5)
    assert (first.address, second.address) == (0, 2 * ALIGNMENT) and space.add("a", "p", ALIGNMENT + 1) is first
    message = f"memory map: expected at most {3 * ALIGNMENT} bytes, got {4 * ALIGNMENT} with region c of 1 bytes"
    with pytest.raises(CapacityError, match=message):
        space.add("c", "p", 1)
    assert list(space.regions) == ["a", "b"]
    again = AddressSpace(4 * ALIGNMENT, space.regions)
    assert again.add("c", "d", 1).address == 3 * ALIGNMENT


def test_the_engine_for_schemes() -> None:
    base = find_target("small").engine
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


@pytest.mark.parametrize(
    ("chunks", "block", "writes", "depth", "waits"),
    [
        (16, 8, 16, 4, 0),
        (16, 8, 2, 16, 0),  # a row is made in 8 cycles and lasts 8 chunks
        (16, 8, 1, 16, 2 * (8 + 8)),
        (19, 8, 1, 16, 2 * (8 + 8 + 13)),
        (19, 8, 1, 4, 2 * (8 * 14 + 14 + 15)),  # strips of two chunks
        (3, 3, 4, 16, 2 * 1),
    ],
)
def test_lookups_that_wait_for_rows(chunks: int, block: int, writes: int, depth: int, waits: int) -> None:
    engine = replace(find_target("tiny").engine, row_writes=writes, codes_depth=depth)
    sizes = dict(outputs=8 * chunks, pairs=4, groups=2, stages=1, blocks=-(-chunks // block), chunks=chunks)
    made = Round("r", "l", "exact_row", 0, block_chunks=block, shift=0, c="c", q="q", w=("w",), **sizes)
    assert made.row_waits(engine) == waits
