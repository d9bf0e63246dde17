"""Whole engines in the arc JIT: many shapes of engine and layer, every row source, equal to the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from lutllm.lowering.engine import MODES, EngineConfig
from lutllm.lowering.image.linear import load_memory, output_values
from lutllm.lowering.program import Program
from lutllm.lowering.schedule import ALIGNMENT
from lutllm.lowering.targets import TARGETS
from lutllm.simulate import AxiTiming, Memory, TestBench

TINY = TARGETS["tiny"].engine
ENGINES = {
    "tiny": TINY,
    # one pair, chains of length 1, the narrowest ports, single-beat bursts, one of them at a time
    "one-pair": EngineConfig(
        pairs=1, lanes=4, centroids=4, chains=4, metric="l2", requant_lanes=1, tokens=3, acc_words=9, codes_depth=2,
        port_bits={"w": 32, "x": 32, "c": 32, "q": 32, "y": 32}, burst_beats=1, outstanding=1,
    ),
    # 15 centroids in 3 chains, two additive stages, wide terms and results, a weight port for each pair
    "three-pairs": EngineConfig(
        pairs=3, lanes=6, centroids=15, chains=3, act_stages=2, metric="l2", term_bits=31, table_bits=12, out_bits=32,
        requant_lanes=3, tokens=5, acc_words=33, codes_depth=3, weight_ports=3,
        port_bits={"w": 32, "x": 64, "c": 128, "q": 64, "y": 32}, burst_beats=4,
    ),
    # two weight ports, 8-bit operands, 4-bit weights, narrow tables, one chain
    "two-ports": EngineConfig(
        pairs=4, lanes=10, centroids=6, chains=1, operand_bits=8, weight_bits=4, table_bits=6, term_bits=20,
        out_bits=16, requant_lanes=5, tokens=4, acc_words=20, codes_depth=5, weight_ports=2,
        port_bits={"w": 64, "x": 64, "c": 32, "q": 256, "y": 128}, burst_beats=64, outstanding=2,
    ),
    # single row sources: no search, no tables, no codebooks
    "exact-only": EngineConfig(
        pairs=2, lanes=12, centroids=4, chains=2, requant_lanes=12, tokens=1, acc_words=5, row_sources=("exact_row",),
        port_bits={"w": 128, "x": 32, "c": 32, "q": 512, "y": 256},
    ),
    "row-only": EngineConfig(
        pairs=5, lanes=4, centroids=10, chains=5, act_stages=2, requant_lanes=2, tokens=7, acc_words=14, codes_depth=4,
        row_sources=("built_row",), weight_ports=5, port_bits={"w": 32, "x": 128, "c": 256, "q": 128, "y": 64},
    ),
    "table-only": EngineConfig(
        pairs=2, lanes=8, centroids=12, chains=4, metric="l2", requant_lanes=4, tokens=2, acc_words=16,
        row_sources=("built_table",), port_bits={"w": 64, "x": 64, "c": 256, "q": 64, "y": 64},
    ),
    "stored-only": EngineConfig(
        pairs=2, lanes=16, centroids=9, chains=3, act_stages=2, table_bits=16, requant_lanes=8, tokens=3, acc_words=21,
        row_sources=("stored_table",), weight_ports=2, port_bits={"w": 128, "x": 32, "c": 64, "q": 64, "y": 64},
        outstanding=8,
    ),
    # the search as in the paper, at its width
    "wide": EngineConfig(
        pairs=2, lanes=64, centroids=64, chains=4, requant_lanes=16, tokens=4, acc_words=16,
        port_bits={"w": 256, "x": 64, "c": 256, "q": 512, "y": 512},
    ),
}  # fmt: skip
STALLING = AxiTiming(latency=9, stall_address=90, stall_data=90, stall_response=90, outstanding=3)
TIMINGS = [
    AxiTiming(latency=1),
    AxiTiming(latency=300),
    AxiTiming(latency=20, bytes_per_cycle=3),
    STALLING,
    AxiTiming(latency=5, outstanding=1, max_beats=256),
    {"m_axi_y": AxiTiming(latency=100, bytes_per_cycle=1, stall_response=200)},
    {
        "m_axi_w0": AxiTiming(latency=200, bytes_per_cycle=2, stall_data=50),
        "m_axi_x": AxiTiming(latency=3, stall_data=200),
    },
]

# Tables so small that memory brings them faster than they are used, and room for many codes: weights run ahead.
AHEAD = EngineConfig(
    pairs=2, lanes=4, centroids=4, chains=2, requant_lanes=4, tokens=6, acc_words=48, codes_depth=16,
    port_bits={"w": 256, "x": 32, "c": 64, "q": 64, "y": 64},
)  # fmt: skip
PORTS = [f"m_axi_{name}" for name in ("d", "x", "c", "q", "w0", "y")]

Case = Any  # of conftest.py
MakeCase = Callable[..., Case]
MakeEngine = Callable[[EngineConfig], Any]


def jobs_for(engine: EngineConfig, seed: int) -> list[dict[str, Any]]:
    """One layer for each row source and number of weight stages: odd pair counts, short blocks, 1 token to too many."""
    rng = np.random.default_rng(seed)
    jobs = []
    for stages in (1, 2, 3):
        for source in engine.row_sources:
            job = dict(row_source=source, R=stages, pairs=int(rng.integers(1, 4 * engine.pairs)) | 1)
            job |= dict(outputs=int(rng.integers(1, 4 * engine.lanes)), tokens=int(rng.integers(1, engine.tokens + 3)))
            job |= dict(G=int(rng.integers(1, 2 * engine.lanes)), c_w=int(rng.choice([2, 11, 16])))
            job |= dict(S=int(rng.integers(1, engine.act_stages + 1)), c_a=int(rng.integers(1, engine.centroids + 1)))
            jobs.append(job | dict(bias=stages > 1, x_bits=engine.operand_bits - (stages == 3)))
    return jobs


@pytest.mark.parametrize("name", ENGINES)
def test_equals_the_interpreter(name: str, case: MakeCase, arc_engine: MakeEngine) -> None:
    """All row sources with 1 to 3 weight stages in one program, so that the row source changes at every round."""
    engine = ENGINES[name]
    simulator = arc_engine(engine)
    for seed, timing in enumerate((AxiTiming(latency=1), STALLING, AxiTiming(latency=64))):
        simulator.randomize(seed)  # as at power-up; reset must be enough
        made = case(engine, jobs_for(engine, seed), seed)
        assert {layer.row_source for layer in made.layers} == set(engine.row_sources)
        made.run(simulator, timing=timing, seed=seed + 1)


@pytest.mark.parametrize("source", MODES)
def test_shapes_that_do_not_divide(source: str, case: MakeCase, arc_engine: MakeEngine) -> None:
    shapes = [
        dict(pairs=1, outputs=1, tokens=1),  # the smallest there is
        dict(pairs=5, outputs=20, tokens=3, G=8),  # half a group, last block of 4 in 8 lanes
        dict(pairs=3, outputs=21, tokens=2, G=7),  # blocks that are no multiple of the lanes
        dict(pairs=4, outputs=9, tokens=4, G=1),  # a codebook for each output
        dict(pairs=7, outputs=16, tokens=1, G=16),
        dict(pairs=2, outputs=3, tokens=11, G=3),  # tokens above the engine's 4: three steps
        dict(pairs=3, outputs=150, tokens=4, G=24),  # more sums than the accumulator holds: ranges of outputs
        dict(pairs=2, outputs=140, tokens=9, G=16),  # both
    ]
    made = case(TINY, [shape | dict(row_source=source, R=1 + i % 3) for i, shape in enumerate(shapes)], seed=3)
    rounds = {layer.name: [r for r in made.program.rounds if r.linear == layer.name] for layer in made.layers}
    assert [len(r) for r in rounds.values()] == [1, 1, 1, 1, 1, 3, 2, 6]
    assert [r.token_offset for r in rounds["layer5"]] == [0, 4, 8] and rounds["layer5"][2].tokens == 3
    assert [r.output_offset for r in rounds["layer6"]] == [0, 120]
    for timing in (AxiTiming(latency=2), STALLING):
        made.run(arc_engine(TINY), timing=timing)


@pytest.mark.parametrize("timing", TIMINGS, ids=range(len(TIMINGS)))
def test_memory_may_be_slow_narrow_and_irregular(timing: Any, case: MakeCase, arc_engine: MakeEngine) -> None:
    jobs = [dict(pairs=5, outputs=37, tokens=3, G=16, R=2, row_source=source) for source in (*MODES, *MODES[1:3])]
    made = case(TINY, jobs, seed=11)
    cycles = {made.run(arc_engine(TINY), timing=timing, seed=seed).result.cycles for seed in (1, 2, 3)}
    stalls = timing is STALLING or isinstance(timing, dict)
    assert (len(cycles) > 1) == stalls  # the seed matters where something is random, and only there


def test_slower_memory_takes_longer_and_moves_the_same_bytes(case: MakeCase, arc_engine: MakeEngine) -> None:
    made = case(TINY, [dict(pairs=6, outputs=40, tokens=4, row_source=source) for source in MODES], seed=5)
    runs = [made.run(arc_engine(TINY), timing=AxiTiming(latency=latency)) for latency in (1, 30, 300)]
    assert runs[0].result.cycles < runs[1].result.cycles < runs[2].result.cycles
    sizes = {r.name: r.size for r in made.program.regions.values()}
    used = {name: 0 for name in ("x", "c", "q", "y", "w0")}
    for round_ in made.program.rounds:
        for name, region in zip(used, (round_.x, round_.c, round_.q, round_.y, round_.w[0]), strict=True):
            used[name] += sizes[region]
    for run in runs:
        assert {name: run.result.ports[f"m_axi_{name}"].bytes for name in used} == used


layer_shapes = st.fixed_dictionaries(
    dict(
        row_source=st.sampled_from(MODES),
        pairs=st.integers(1, 9),
        outputs=st.integers(1, 90),
        tokens=st.integers(1, 9),
        R=st.integers(1, 3),
        G=st.integers(1, 40),
        c_w=st.integers(2, 16),
        c_a=st.integers(1, 16),
        x_bits=st.integers(3, 16),
    )
)


port_timings = st.builds(
    lambda latency, stall, rate: AxiTiming(
        latency=latency, stall_address=stall, stall_data=stall, stall_response=stall, bytes_per_cycle=rate
    ),
    st.sampled_from([1, 4, 30, 700]),
    st.sampled_from([0, 0, 60, 150]),
    st.sampled_from([None, None, 2]),
)


@hypothesis.settings(max_examples=40, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(
    jobs=st.lists(layer_shapes, min_size=1, max_size=4),
    timing=st.dictionaries(st.sampled_from(PORTS), port_timings),
    engine=st.sampled_from([TINY, AHEAD]),
    seed=st.integers(0, 1000),
)
def test_any_layers_in_any_order(
    case: MakeCase, arc_engine: MakeEngine, jobs: list[dict[str, Any]], timing: Any, engine: EngineConfig, seed: int
) -> None:
    """Each port with a timing of its own, so that any stream may run ahead of the others or behind."""
    jobs = [job | dict(c_a=min(job["c_a"], engine.centroids)) for job in jobs]
    simulator = arc_engine(engine)
    simulator.randomize(seed)
    case(engine, jobs, seed).run(simulator, timing=timing, seed=seed)


@pytest.mark.parametrize("engine", [TINY, AHEAD], ids=["tiny", "ahead"])
@pytest.mark.parametrize("late", PORTS)
def test_one_stream_far_behind_the_others(
    late: str, engine: EngineConfig, case: MakeCase, arc_engine: MakeEngine
) -> None:
    """What came early waits in its buffers, however many blocks, groups and rounds are behind it."""
    shapes = [
        dict(pairs=9, outputs=10 * engine.lanes, tokens=2, G=engine.lanes),
        dict(pairs=4, outputs=30, tokens=6, R=2),
    ]
    jobs = [shape | dict(row_source=source) for source in MODES for shape in shapes]
    made = case(engine, jobs, seed=17)
    for slow in (
        AxiTiming(latency=1500),
        AxiTiming(latency=1, bytes_per_cycle=1),
        AxiTiming(latency=40, stall_data=200),
    ):
        made.run(arc_engine(engine), timing={port: AxiTiming(latency=1) for port in PORTS} | {late: slow})


def joined(first: Case, second: Case) -> Case:
    """The rounds of both programs, alternating, and both memory maps one behind the other."""
    offset = -(-first.program.memory_bytes // ALIGNMENT) * ALIGNMENT
    regions = {n: r for n, r in first.program.regions.items() if r.kind != "d"}
    regions |= {n: replace(r, address=r.address + offset) for n, r in second.program.regions.items() if r.kind != "d"}
    pairs = zip(first.program.rounds, second.program.rounds, strict=True)
    rounds = tuple(round_ for pair in pairs for round_ in pair)
    each = first.program.descriptors.size // len(first.program.rounds)
    end = -(-(offset + second.program.memory_bytes) // ALIGNMENT) * ALIGNMENT
    regions["d"] = replace(first.program.descriptors, name="d", address=end, size=each * len(rounds))
    both = {key: getattr(first, key) | getattr(second, key) for key in ("linears", "inputs", "golden")}
    return type(first)(Program(first.program.engine, regions, rounds), [*first.layers, *second.layers], **both)


@pytest.mark.parametrize("sources", [("exact_row", "built_table"), ("stored_table", "built_row"), MODES[1:3]])
def test_row_source_changes_between_rounds(sources: tuple[str, str], case: MakeCase, arc_engine: MakeEngine) -> None:
    """Two schedules woven into one: at every change the engine drains and starts its ping-pong state afresh."""
    programs = [
        case(TINY, [dict(name=source, pairs=3, outputs=30, tokens=10, R=2, G=12, row_source=source)], seed=i)
        for i, source in enumerate(sources)
    ]
    made = joined(*programs)
    assert [r.row_source for r in made.program.rounds] == list(sources) * 3
    for timing in (AxiTiming(latency=1), AxiTiming(latency=70), STALLING):
        made.run(arc_engine(TINY), timing=timing)


def test_rounds_of_one_row_source_overlap(case: MakeCase, arc_engine: MakeEngine) -> None:
    """A second round costs little more than its lookups; after a change of row source it also waits for the drain."""
    shape = dict(pairs=16, outputs=32, tokens=4)
    simulator, timing = arc_engine(TINY), AxiTiming(latency=10)
    same = case(TINY, [shape | dict(row_source="exact_row")] * 4, seed=1).run(simulator, timing=timing)
    other = [shape | dict(row_source=source) for source in ("exact_row", "built_row") * 2]
    mixed = case(TINY, other, seed=1).run(simulator, timing=timing)
    steps = sum(round_.steps for round_ in same.program.rounds)
    assert steps <= same.result.cycles < steps + 200 < mixed.result.cycles


def test_second_program_without_reset(case: MakeCase, arc_engine: MakeEngine) -> None:
    """Start again after done: other layers, the same and another row source, then the first program once more."""
    shape = dict(pairs=5, outputs=30, tokens=3, R=2, G=12)
    cases = [
        case(TINY, [shape | dict(row_source=source) for source in sources], seed=i)
        for i, sources in enumerate((["built_row"] * 3, ["built_row"], ["built_table", "exact_row"], ["exact_row"]))
    ]
    images = [load_memory(made.program, made.linears, made.inputs) for made in cases]
    memory = Memory(max(image.size for image in images))
    simulator = arc_engine(TINY)
    bench = TestBench(simulator, memory=memory, timing=AxiTiming(latency=13))
    bench.reset()
    for index in (0, 1, 2, 3, 3, 0, 2):
        made, image = cases[index], images[index]
        memory.write(0, image)
        bench.start(made.program.descriptors.address, len(made.program.rounds))
        bench.run().check()
        for round_ in made.program.rounds:
            region = made.program.regions[round_.y]
            got = output_values(made.program, round_, memory.read(region.address, region.size))
            assert np.array_equal(got, made.golden[round_.linear]), (index, round_.name)
        assert simulator.peek("busy") == 0 and simulator.peek("done") == 1


def test_reset_in_mid_run(case: MakeCase, arc_engine: MakeEngine) -> None:
    simulator = arc_engine(TINY)
    made = case(TINY, [dict(pairs=5, outputs=30, tokens=3, row_source=source) for source in MODES], seed=8)
    image = load_memory(made.program, made.linears, made.inputs)
    for stop in (1, 50, 200, 333, 480):
        bench = TestBench(simulator, memory=Memory(image.copy()))
        bench.reset()
        bench.start(made.program.descriptors.address, len(made.program.rounds))
        assert bench.run(stop).stop == "the cycle limit"
        made.run(simulator)
