"""Linears alone on whole accelerators in the arc JIT: many shapes of engine and linear, every row source, equal to the
interpreter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from lutllm import dialect
from lutllm.accelerator.hardware import PASSES
from lutllm.bindings import ir
from lutllm.errors import LutllmError
from lutllm.lowering.machine.accelerator import IMAGE_HEADER
from lutllm.lowering.machine.engine import MODES, EngineConfig
from lutllm.lowering.machine.targets import find_target
from lutllm.passes import run_pipeline
from lutllm.passes.walk import ops_in
from lutllm.simulate import AxiTiming
from lutllm.simulate.transactions.simulator import TransactionSimulator

TINY = find_target("tiny").engine
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

NAMES = (
    "tiny", "one-pair", "six-pairs", "two-ports", "exact-only", "row-only", "table-only", "stored-only", "wide",
    "one-write", "two-writes", "four-writes", "eight-writes", "eighth",
)  # fmt: skip
# Those have the FIFOs that their parameters ask for, however small; the others as deep as they must be.
UNSIZED = ("one-pair", "six-pairs", "two-ports", "row-only", "one-write", "two-writes")

# Tables so small that memory brings them faster than they are used, and room for many codes: weights run ahead.
AHEAD = EngineConfig(
    pairs=2, lanes=4, centroids=4, chains=2, requant_lanes=4, tokens=6, acc_words=48, codes_depth=16,
    port_bits={"w": 256, "c": 64, "q": 64},
)  # fmt: skip
# Rows kept in the lanes, and two chains.
SERIAL = replace(TINY, row_writes=4, sum_chains=2, codes_depth=8)
PORTS = [f"m_axi_{name}" for name in ("d", "x", "c", "q", "w0", "y")]

Case = Any  # of conftest.py
MakeCase = Callable[..., Case]
Arc = Callable[..., Any]


def jobs_for(engine: EngineConfig, seed: int) -> list[dict[str, Any]]:
    """A linear for each row source and number of weight stages: odd pair counts, short blocks. The last ones of a row
    source read one input."""
    rng = np.random.default_rng(seed)
    jobs: list[dict[str, Any]] = []
    most = engine.acc_words // engine.tokens * engine.lanes  # outputs of a block that the accumulator holds
    for stages in (1, 2, 3):
        for i, source in enumerate(engine.row_sources):
            job = dict(row_source=source, R=stages, pairs=int(rng.integers(1, 4 * engine.pairs)) | 1)
            job |= dict(S=int(rng.integers(1, engine.act_stages + 1)), c_a=int(rng.integers(1, engine.centroids + 1)))
            job |= dict(x_bits=engine.operand_bits - (stages > 1))
            if stages == 3:
                like = len(engine.row_sources) + i
                job |= {name: jobs[like][name] for name in ("pairs", "S", "c_a")} | dict(like=like)
            job |= dict(G=int(rng.integers(1, min(most, 2 * engine.lanes) + 1)), c_w=int(rng.choice([2, 11, 16])))
            jobs.append(job | dict(outputs=int(rng.integers(1, 4 * engine.lanes)), bias=stages > 1))
    return jobs


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_interpreter(name: str, engines: dict[str, EngineConfig], case: MakeCase, arc: Arc) -> None:
    """All row sources with 1 to 3 weight stages in one program, so that the row source changes at every linear. Whole
    passes, a short one, one of a single token."""
    engine = engines[name]
    for seed, timing in enumerate((AxiTiming(latency=1), STALLING, AxiTiming(latency=64))):
        made = case(engine, jobs_for(engine, seed), 3 * engine.tokens + 1 - seed, seed, sized=name not in UNSIZED)
        rounds = made.activations.plan.rounds.values()
        assert {round_.row_source for round_ in rounds} == set(engine.row_sources)
        simulator = arc(made, optimize=int(engine is TINY))
        simulator.randomize(seed)  # as at power-up; reset must be enough
        made.run(simulator, timing=timing, seed=seed + 1)


@pytest.mark.parametrize("source", MODES)
def test_shapes_that_do_not_divide(source: str, case: MakeCase, arc: Arc) -> None:
    shapes = [
        dict(pairs=1, outputs=1),  # the smallest there is
        dict(pairs=5, outputs=20, G=8),  # half a group, last block of 4 in 8 lanes
        dict(pairs=3, outputs=21, G=7),  # blocks that are no multiple of the lanes
        dict(pairs=4, outputs=9, G=1),  # a codebook for each output
        dict(pairs=7, outputs=16, G=16),
        dict(pairs=3, outputs=150, G=24),  # more sums than the accumulator holds: two rounds
        dict(pairs=2, outputs=300, G=16),  # three
    ]
    jobs = [shape | dict(row_source=source, R=1 + i % 3) for i, shape in enumerate(shapes)]
    made = case(TINY, jobs, 11, seed=3)
    rounds = made.activations.plan.rounds.values()
    first = {f"layer{i}": [r.first for r in rounds if r.linear == f"layer{i}"] for i in range(len(jobs))}
    ends = [[], [16], [16], [64], [], [144], [288]]  # the last block of exact rows is a round of its own
    wanted = [[0]] * 5 + [[0, 120], [0, 128, 256]]
    assert list(first.values()) == [a + b * (source == "exact_row") for a, b in zip(wanted, ends, strict=True)]
    for tokens, timing in ((11, STALLING), (4, AxiTiming(latency=2)), (1, AxiTiming(latency=2))):
        made.with_tokens(tokens).run(arc(made), timing=timing)


@pytest.mark.parametrize("timing", TIMINGS, ids=range(len(TIMINGS)))
def test_memory_may_be_slow_narrow_and_irregular(timing: Any, case: MakeCase, arc: Arc) -> None:
    jobs = [dict(pairs=5, outputs=37, G=16, R=2, row_source=source) for source in (*MODES, *MODES[1:3])]
    made = case(TINY, jobs, 5, seed=11)
    cycles = {made.run(arc(made), timing=timing, seed=seed).run.cycles for seed in (1, 2, 3)}
    stalls = timing is STALLING or isinstance(timing, dict)
    assert (len(cycles) > 1) == stalls  # the seed matters where something is random, and only there


def test_slower_memory_takes_longer_and_moves_the_same_bytes(case: MakeCase, arc: Arc) -> None:
    made = case(TINY, [dict(pairs=6, outputs=40, row_source=source) for source in MODES], 4, seed=5)
    runs = [made.run(arc(made), timing=AxiTiming(latency=latency)).run for latency in (1, 30, 300)]
    assert runs[0].cycles < runs[1].cycles < runs[2].cycles
    plan = made.activations.plan
    used = {f"m_axi_{name}": sum(r.size for r in plan.regions_of(name)) for name in "xcqy"}
    used = {name: size * 4 // plan.config.context if name[-1] in "xy" else size for name, size in used.items()}
    used |= {"m_axi_w0": sum(r.size for r in plan.regions_of("w")), "m_axi_d": plan.regions["prefill.d"].size}
    used["m_axi_d"] += 8 * len(IMAGE_HEADER)
    for run in runs:
        assert {name: port.bytes for name, port in run.result.ports.items()} == used


linear_shapes = st.fixed_dictionaries(
    dict(
        row_source=st.sampled_from(MODES),
        pairs=st.integers(1, 9),
        outputs=st.integers(1, 90),
        R=st.integers(1, 3),
        G=st.integers(1, 32),
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


@hypothesis.settings(max_examples=30, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(
    jobs=st.lists(linear_shapes, min_size=1, max_size=4),
    tokens=st.integers(1, 13),
    timing=st.dictionaries(st.sampled_from(PORTS), port_timings),
    engine=st.sampled_from([TINY, AHEAD, SERIAL]),
    seed=st.integers(0, 1000),
)
def test_any_linears_in_any_order(
    case: MakeCase, arc: Arc, jobs: list[dict[str, Any]], tokens: int, timing: Any, engine: EngineConfig, seed: int
) -> None:
    """Each port with a timing of its own, so that any stream may run ahead of the others or behind."""
    jobs = [job | dict(c_a=min(job["c_a"], engine.centroids)) for job in jobs]
    made = case(engine, jobs, tokens, seed, sized=engine is not AHEAD)
    simulator = arc(made)
    simulator.randomize(seed)
    made.run(simulator, timing=timing, seed=seed)


@pytest.mark.parametrize("engine", [TINY, AHEAD, SERIAL], ids=["tiny", "ahead", "serial"])
@pytest.mark.parametrize("late", PORTS)
def test_one_stream_far_behind_the_others(late: str, engine: EngineConfig, case: MakeCase, arc: Arc) -> None:
    """What came early waits in its buffers, however many blocks, groups and rounds are behind it."""
    shapes = [dict(pairs=9, outputs=10 * engine.lanes, G=engine.lanes), dict(pairs=4, outputs=30, R=2)]
    jobs = [shape | dict(row_source=source) for source in MODES for shape in shapes]
    made = case(engine, jobs, 6, seed=17, sized=engine is not AHEAD)
    for slow in (
        AxiTiming(latency=1500),
        AxiTiming(latency=1, bytes_per_cycle=1),
        AxiTiming(latency=40, stall_data=200),
    ):
        made.run(arc(made), timing={port: AxiTiming(latency=1) for port in PORTS} | {late: slow})


def test_linears_of_one_row_source_overlap(case: MakeCase, arc: Arc) -> None:
    """A second linear costs little more than its lookups; after a change of row source it also waits for the drain."""
    shape, timing = dict(pairs=16, outputs=32), AxiTiming(latency=10)
    same = case(TINY, [shape | dict(row_source="exact_row")] * 4, 4, seed=1)
    mixed = case(TINY, [shape | dict(row_source=source) for source in ("exact_row", "built_row") * 2], 4, seed=1)
    cycles = [made.run(arc(made), timing=timing).run.cycles for made in (same, mixed)]
    steps = sum(4 * r.groups * r.chunks for r in same.activations.plan.rounds.values())
    assert steps <= cycles[0] < steps + 300 < cycles[1]


def test_a_second_program_without_reset(case: MakeCase, arc: Arc) -> None:
    """Start again after done: other linears, the same and another row source, then the first program once more."""
    shape = dict(pairs=5, outputs=30, R=2, G=12)
    sources = (["built_row"] * 3, ["built_row"], ["built_table", "exact_row"], ["exact_row"])
    cases = [case(TINY, [shape | dict(row_source=s) for s in some], 3, seed=i) for i, some in enumerate(sources)]
    memory = np.zeros(max(made.image.size for made in cases), np.uint8)
    accelerator = cases[0].accelerator(arc(cases[0]), memory, timing=AxiTiming(latency=13))
    for index in (0, 1, 2, 3, 3, 0, 2):
        made, image = cases[index], cases[index].image
        accelerator.memory.write(0, image)
        accelerator.model = int(image[8:16].view("<u8")[0])
        accelerator.start(made.tokens, 0).check()
        assert made.equal(accelerator), index


def test_reset_in_mid_run(case: MakeCase, arc: Arc) -> None:
    made = case(TINY, [dict(pairs=5, outputs=30, row_source=source) for source in MODES], 3, seed=8)
    for stop in (1, 50, 200, 333, 480):
        accelerator = made.accelerator(arc(made))
        accelerator.start(made.tokens, 0, max_cycles=stop)
        accelerator.reset()
        made.run(arc(made))


def test_a_run_goes_on_at_a_position(case: MakeCase, arc: Arc) -> None:
    """The rows before it stay; its passes lie as if the whole had been one run of passes that end there. The image may
    lie anywhere in memory."""
    made = case(TINY, [dict(pairs=7, outputs=40, row_source="built_row")], 12)
    accelerator = made.accelerator(arc(made), base=0x3_4000_0000)
    accelerator.start(8, 0).check()
    region = made.activations.plan.regions["layer0.y"]
    after = accelerator.memory.data[region.address : region.address + region.size].reshape(40, -1)
    assert after[:8].any(axis=1).all() and not after[8:].any()
    accelerator.start(12, 0, position=8).check()
    assert made.equal(accelerator)


def test_transactions_write_the_same_bytes(case: MakeCase, arc: Arc) -> None:
    made = case(TINY, [dict(pairs=7, outputs=90, G=24, R=2, row_source=source) for source in MODES], 11)
    accelerator = made.accelerator(arc(made))
    accelerator.start(made.tokens, 0).check()
    simulated = TransactionSimulator.of(made.activations.module, made.activations.tensors, made.image)
    assert simulated.generate([0] * made.tokens, 0).error == "none"
    assert np.array_equal(simulated.chip.image, accelerator.memory.data)


def test_weights_of_all_ports_lie_evenly(case: MakeCase, engines: dict[str, EngineConfig]) -> None:
    """A descriptor has one address and one distance for them."""
    made = case(engines["six-pairs"], [dict(pairs=6, outputs=12, row_source="exact_row")], 2)
    module = made.activations.module
    with module.context, ir.Location.unknown():
        (last,) = (op for op in ops_in(module.operation, dialect.RegionOp) if op.sym_name.value == "layer0.0.w2")
        last.attributes["address"] = dialect.i64(1 << 27)
        wanted = "expected the regions w of round layer0.0 each as far behind the one before as all others, got"
        with pytest.raises(LutllmError, match=f"{wanted} distances of 4096, [0-9]* bytes; allocate again"):
            run_pipeline(module, "builtin.module(lut-verify-schedule)", passes=PASSES)


def test_rows_that_last_cost_nothing(case: MakeCase, engines: dict[str, EngineConfig], arc: Arc) -> None:
    """Blocks of as many chunks as a row has entries: one row is made while another is looked up in."""
    engine = engines["eighth"]
    shapes = [dict(pairs=96, outputs=256, G=block, row_source="exact_row") for block in (128, 64)]
    cycles, rows = {}, []
    for shape in shapes:
        made = case(engine, [shape] * 4, 8, seed=5)
        for timing in (STALLING, AxiTiming(latency=10)):
            cycles[shape["G"]] = made.run(arc(made), timing=timing).run.cycles
        rounds = made.activations.plan.rounds.values()
        steps = sum(8 * round_.groups * round_.chunks for round_ in rounds)
        rows.append(8 * sum(round_.row_waits(engine) for round_ in rounds))
    assert rows == [0, steps]
    assert steps <= cycles[128] < steps + 700 and 2 * steps <= cycles[64] < 2 * steps + 700, (steps, cycles)
