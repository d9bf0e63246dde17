"""Depths of FIFOs: what the LP chooses passes the exact checker, and each obligation that is broken is named."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.dialect.machines.limits import MODES
from lutllm.dialect.machines.machine import MEMORIES
from lutllm.errors import CapacityError
from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.hardware.streams.depths import choose_depths, verify_depths, with_depths
from lutllm.lowering.hardware.streams.fifos import Fifo, fifos
from lutllm.lowering.machine.accelerator import DECODER_ENGINES, ENGINES, SIZED_STREAMS, AcceleratorConfig
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.lowering.machine.form import Machine, machine_op, read_machine, write_machine
from lutllm.lowering.machine.target_files import NAMES
from lutllm.lowering.machine.targets import find_target

TINY = AcceleratorConfig(engine=find_target("tiny").engine, head_lanes=8, kv_bits=64, context=64)
SIZED = with_depths(TINY)


def changed(config: AcceleratorConfig, **depths: int) -> AcceleratorConfig:
    codes = depths.pop("codes", config.engine.codes_depth)
    return replace(config, engine=replace(config.engine, codes_depth=codes), depths=config.depths | depths)


def problem(streams: list[Fifo]) -> str:
    with pytest.raises(CapacityError) as caught:
        verify_depths(streams)
    return str(caught.value)


LINEARS = ("linear", "feed", "load", "save")
OF_LINEARS = {"read_d", "read_c", "read_q", "read_w", "read_x", "write_y", "y_responses", "y_orders", "x", "codebooks",
              "results"}  # fmt: skip


@pytest.mark.parametrize("engines", [ENGINES, DECODER_ENGINES, LINEARS], ids=["all", "decoder", "linears"])
@pytest.mark.parametrize("target", NAMES)
@pytest.mark.parametrize("latency", [1, 64, 500])
def test_the_chosen_depths_are_proven_and_are_the_cheapest(target: str, latency: int, engines: tuple[str, ...]) -> None:
    found = find_target(target)
    sized = with_depths(
        AcceleratorConfig(
            found.engine,
            engines,
            head_lanes=found.accelerator.head_lanes,
            kv_bits=found.accelerator.kv_bits,
            modes=MODES if engines == ENGINES else (),
        ),
        latency,
    )
    streams = fifos(sized, latency)
    verify_depths(streams)
    absent = {ENGINES: set(), DECODER_ENGINES: {"read_x", "write_y", "y_responses", "n"}}
    assert set(sized.depths) == (OF_LINEARS if engines == LINEARS else set(SIZED_STREAMS) - absent[engines])
    assert with_depths(sized, latency) == sized
    for f in streams:
        if f.sized and f.depth - f.unit >= f.ahead:
            less = [replace(f, depth=f.depth - f.unit) if g is f else g for g in streams]
            assert f.name in problem(less)


@given(
    pairs=st.sampled_from([2, 4, 8, 32]), lanes=st.sampled_from([32, 64]), chunk=st.sampled_from([4, 16]),
    burst=st.sampled_from([1, 8, 64]), latency=st.integers(1, 300), head=st.sampled_from([16, 64]),
    sources=st.sampled_from([("exact_row",), ("stored_table",), ("built_row", "built_table")]),
)  # fmt: skip
def test_any_configuration_has_depths(
    pairs: int, lanes: int, chunk: int, burst: int, latency: int, head: int, sources: tuple[str, ...]
) -> None:
    ports = {"w": 512, "c": 32, "q": 64}
    sizes = dict(pairs=pairs, lanes=lanes, requant_lanes=chunk, burst_beats=burst)
    engine = EngineConfig(**sizes, row_sources=sources, port_bits=ports)  # type: ignore[arg-type]
    verify_depths(
        fifos(with_depths(AcceleratorConfig(engine=engine, head_lanes=head, kv_bits=8 * head), latency), latency)
    )


@pytest.mark.parametrize(
    ("name", "depth", "message"),
    [
        ("read_k", 8, "read_k: expected a depth of at least 16 words, what must be there at once, got 8: a deadlock"),
        ("write_kv", 15, "write_kv: expected a depth of at least 16 words, what must be there at once, got 15"),
        ("read_w", 40, "read_w: expected a multiple of 16 words, a burst, got 40"),
        ("read_v", 80, "read_v: expected a depth of at least 96 words for 1 a cycle, got 80: it would stall"),
        ("write_kv", 17, "write_kv: expected a depth of at least 18 words for 1/2 a cycle, got 17: it would stall"),
        ("results", 6, "results: expected a depth of at least 7 words for 1 a cycle, got 6: it would stall"),
        ("codes", 6, "codes: expected a depth of at least 7 words for 1 a cycle, got 6: it would stall"),
        ("p_orders", 11, "p_orders: expected a depth of at least 12 words for all that may wait, got 11"),
        # Roots alone would do with 10; their values wait for parameters, which are asked for when the squares begin.
        ("roots", 33, "roots, read_p: expected depths that fit together"),
    ],
)  # fmt: skip
def test_a_depth_too_small_is_named(name: str, depth: int, message: str) -> None:
    assert message in problem(fifos(changed(SIZED, **{name: depth}), 64))


def test_a_slower_memory_asks_for_deeper_readers() -> None:
    assert "stream read_d: expected a depth of at least 112 words" in problem(fifos(SIZED, 90))


def test_streams_that_part_and_meet_again_need_room_for_the_longer_way() -> None:
    """a -> b -> c takes 20 cycles; what a gives c directly waits as long."""
    register = ("count",)
    way = [
        Fifo("first", "a", ("b",), 8, 0, register, rate=Fraction(1), latency=15),
        Fifo("second", "b", ("c",), 8, 0, register, rate=Fraction(1), latency=5),
        Fifo("short", "a", ("c",), 1, 0, register, rate=Fraction(1, 2), latency=1),
    ]
    # Between the nodes of `STARTS`, which are there in every accelerator.
    given = Fifo("given", "squares", ("memory p",), 1, 9, register, sized=False)
    chosen = {"first": 16, "second": 6, "short": 11}
    assert choose_depths([*way, given]) == chosen
    deep = [*(replace(f, depth=chosen[f.name]) for f in way), given]
    verify_depths(deep)
    deep[2] = replace(deep[2], depth=10)
    assert problem(deep).startswith("error: streams short, first, second: expected depths that fit together")


@pytest.mark.parametrize("engines", [ENGINES, LINEARS], ids=["all", "linears"])
def test_every_fifo_of_the_design_is_a_stream_or_has_a_reason(engines: tuple[str, ...]) -> None:
    """The registers named here are those that simulation has; address queues alone are left out."""
    sized = with_depths(replace(TINY, engines=engines, modes=MODES if engines == ENGINES else ()))
    layout = hw_to_arc(accelerator_to_hw(sized, "arc"), ACCELERATOR_TOP).layout
    there = {s.name for s in layout.states if s.name.rsplit("/", 1)[-1] in ("count", "used") and not s.depth}
    named = {register for f in fifos(sized, 64) for register in f.registers}
    assert named <= there
    assert {name.rsplit("/", 2)[-2] for name in there - named} == {"address_queue", "length_queue", "watch"}


@pytest.mark.parametrize(
    ("depths", "message"),
    [
        ({"z": 4}, "expected depths of read_d, read_p"),
        ({"x": 0}, "expected depth x in 1..65536, got 0"),
    ],
)
def test_depths_that_do_not_exist(depths: dict[str, int], message: str) -> None:
    with pytest.raises(CapacityError, match=message):
        replace(TINY, depths=depths)


def test_depths_are_part_of_what_an_image_is_made_for() -> None:
    assert changed(SIZED, x=8).identity != SIZED.identity


def test_depths_in_ir() -> None:
    """The machine's op says all of it, and no more depths than there are."""
    for config in (SIZED, TINY):
        with dialect.context(), ir.Location.unknown():
            module = ir.Module.create()
            with ir.InsertionPoint(module.body):
                write_machine(Machine(config, 64, 1 << 20), memories=MEMORIES)
            again = ir.Module.parse(str(module))
            assert read_machine(again.operation) == Machine(config, 64, 1 << 20)
            op = machine_op(again.operation)
            assert op is not None and str(op).count("lut.fifo") == len(config.depths)
