"""AXI4: the stream masters against the test bench's memory, and a misbehaving master against its checks."""

import numpy as np
import pytest

from lutllm.errors import CapacityError
from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.hardware.lib.axi import axi_read_stream, axi_write_stream
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, const
from lutllm.simulate import (
    ArcSimulator,
    AxiTiming,
    Memory,
    RunResult,
    SimulationError,
    Simulator,
    TestBench,
    run_streams,
)

BASE = 0x4_0000_0000
STALLING = AxiTiming(latency=9, stall_address=120, stall_data=90, stall_response=150, outstanding=3)


def build(make, bits: int, **options: int) -> ArcSimulator:  # type: ignore[no-untyped-def]
    """A master that a reset clears."""
    design = Design("arc")
    made = design.loose(make(design, bits, **options))
    resets = {"clear", "hard"} & set(design.modules[made].takes)
    inputs = {port: width for port, width in design.modules[made].takes.items() if port not in resets}

    def body(m: Module) -> dict[str, Signal]:
        return dict(m.instance(made, "master", **dict.fromkeys(resets, m.rst), **{port: m[port] for port in inputs}))

    return ArcSimulator(hw_to_arc(design, design.module("top", inputs, design.modules[made].gives, body)))


def commands(rng: np.random.Generator, width: int, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Random places and lengths; among them single beats, a whole page, and one that straddles a page by a beat."""
    beats = rng.integers(1, 90, count)
    places = rng.integers(0, (size // width - beats), count)
    beats[0], places[0] = 1, 4096 // width - 1
    beats[1], places[1] = 2, 4096 // width - 1
    beats[2], places[2] = 4096 // width, 4096 // width
    return BASE + places * width, beats


def as_words(data: np.ndarray, width: int) -> np.ndarray:
    """Bytes as the stream of a port `width` bytes wide takes them."""
    rows = data.reshape(-1, width)
    return rows if width > 8 else np.pad(rows, ((0, 0), (0, 8 - width))).copy().view("<u8").reshape(-1)


def read_all(
    simulator: Simulator, width: int, seed: int, timing: AxiTiming, stalls: int, count: int = 40
) -> tuple[RunResult, np.ndarray]:
    rng = np.random.default_rng(seed)
    memory = Memory(rng.integers(0, 256, 1 << 17, dtype=np.uint8), base=BASE)
    address, beats = commands(rng, width, count, memory.data.size)
    expected = np.concatenate([memory.read(int(a), int(b) * width) for a, b in zip(address, beats, strict=True)])
    result = run_streams(
        simulator, {"command": {"address": address, "beats": beats}}, {"data": expected.size // width},
        memory=memory, timing=timing, stalls=stalls, seed=seed, until="idle",
    )  # fmt: skip
    return result, as_words(expected, width)


def write_all(
    simulator: Simulator, width: int, seed: int, timing: AxiTiming, stalls: int, count: int = 40
) -> tuple[RunResult, Memory, np.ndarray]:
    rng = np.random.default_rng(seed)
    memory = Memory(1 << 17, base=BASE)
    address, beats = commands(rng, width, count, memory.data.size)
    data = rng.integers(0, 256, int(beats.sum()) * width, dtype=np.uint8)
    expected, start = memory.data.copy(), 0
    for a, b in zip(address - BASE, beats * width, strict=True):
        expected[a : a + b] = data[start : start + b]
        start += b
    result = run_streams(
        simulator, {"command": {"address": address, "beats": beats}, "data": as_words(data, width)}, {},
        memory=memory, timing=timing, stalls=stalls, seed=seed, until="idle",
    )  # fmt: skip
    return result, memory, expected


@pytest.mark.parametrize(
    ("bits", "burst_beats", "outstanding"),
    [(32, 16, 4), (32, 1, 1), (64, 256, 1), (128, 8, 2), (256, 32, 3), (512, 64, 2), (512, 256, 1), (1024, 4, 4)],
)
def test_streams_move_what_the_commands_name(bits: int, burst_beats: int, outstanding: int) -> None:
    reader = build(axi_read_stream, bits, burst_beats=burst_beats, outstanding=outstanding)
    writer = build(axi_write_stream, bits, burst_beats=burst_beats, outstanding=outstanding)
    for seed, timing, stalls in ((1, AxiTiming(latency=1), 0), (2, STALLING, 0), (3, STALLING, 110)):
        result, expected = read_all(reader, bits // 8, seed, timing, stalls)
        assert np.array_equal(result.check().outputs["data"], expected)
        result, memory, after = write_all(writer, bits // 8, seed, timing, stalls)
        result.check()
        assert np.array_equal(memory.data, after)


def test_full_bursts_use_every_cycle() -> None:
    """64 aligned commands of one burst each: after the first latency a beat moves each cycle, in both directions."""
    reader, writer = build(axi_read_stream, 512), build(axi_write_stream, 512)
    place = {"address": BASE + 1024 * np.arange(64), "beats": np.full(64, 16)}
    memory, timing = Memory(1 << 16, base=BASE), AxiTiming(latency=30)
    result = run_streams(reader, {"command": place}, {"data": 1024}, memory=memory, timing=timing).check()
    arrived = result.stream_cycles["data"]
    assert arrived[-1] - arrived[0] == 1023
    data = np.random.default_rng(0).integers(0, 256, (1024, 64), dtype=np.uint8)
    streams = {"command": place, "data": data}
    result = run_streams(writer, streams, {}, memory=memory, timing=timing, until="idle").check()
    assert np.array_equal(memory.data, data.reshape(-1))
    written = [result.write_cycle(BASE + 64 * i) for i in range(1024)]
    assert np.array_equal(np.diff(written), np.ones(1023))
    assert result.write_cycle(BASE - 64) is None


@pytest.mark.parametrize(("rate", "beats_per_cycle"), [(64, 1.0), (24, 0.375), (200, 1.0), (1, 1 / 64)])
def test_bandwidth_is_what_the_timing_says(rate: int, beats_per_cycle: float) -> None:
    reader = build(axi_read_stream, 512)
    place = {"address": BASE + 4096 * np.arange(8), "beats": np.full(8, 64)}
    timing = AxiTiming(latency=5, bytes_per_cycle=rate)
    result = run_streams(reader, {"command": place}, {"data": 512}, memory=Memory(1 << 15, base=BASE), timing=timing)
    cycles = result.check().stream_cycles["data"]
    assert (cycles[-1] - cycles[0]) == pytest.approx(511 / beats_per_cycle, abs=2)


def test_latency_is_cycles_from_address_to_first_beat() -> None:
    reader, first = build(axi_read_stream, 64), []
    place = {"address": np.array([BASE]), "beats": np.array([4])}
    for latency in (1, 2, 77):
        result = run_streams(
            reader, {"command": place}, {"data": 4}, memory=Memory(4096, base=BASE), timing=AxiTiming(latency=latency)
        )
        first.append(int(result.check().stream_cycles["data"][0]) - latency)
    assert first[0] == first[1] == first[2]


def test_commands_of_no_beats_give_nothing() -> None:
    place = {"address": BASE + 64 * np.arange(5), "beats": np.array([0, 2, 0, 0, 1])}
    memory = Memory(np.arange(512, dtype=np.uint16).view(np.uint8), base=BASE)
    result = run_streams(build(axi_read_stream, 64), {"command": place}, {"data": 3}, memory=memory, until="idle")
    expected = memory.data.view("<u8")[[8, 9, 32]]
    assert np.array_equal(result.check().outputs["data"], expected)


def test_done_pulses_once_for_every_command() -> None:
    writer = build(axi_write_stream, 64, burst_beats=2)
    place = {"address": BASE + 64 * np.arange(6), "beats": np.array([1, 8, 3, 2, 1, 7])}
    bench = TestBench(
        writer, inputs={"command": place, "data": np.arange(22)}, memory=Memory(4096, base=BASE), timing=STALLING,
        stalls=60, until="idle", trace=(0, 2000),
    )  # fmt: skip
    bench.reset()
    trace = bench.run().check().trace
    assert trace is not None and sum(trace.values("done")) == 6


def test_bad_responses_are_sticky_errors() -> None:
    reader, writer = build(axi_read_stream, 64), build(axi_write_stream, 64)
    place = {"address": BASE + 64 * np.arange(4), "beats": np.full(4, 8)}
    for fault, error in (((BASE + 64, BASE + 72), 1), ((BASE + 256, BASE + 264), 0)):
        memory = Memory(4096, base=BASE)
        result = run_streams(reader, {"command": place}, {"data": 32}, memory=memory, fault=fault)
        assert result.error == error and result.ok == (error == 0)
        streams = {"command": place, "data": np.arange(32)}
        result = run_streams(writer, streams, {}, memory=memory, fault=fault, until="idle")
        assert result.error == error and result.ok == (error == 0)
    with pytest.raises(SimulationError, match="the design reports error code 1"):
        run_streams(reader, {"command": place}, {"data": 32}, memory=memory, fault=(BASE, BASE + 8)).check()


@pytest.mark.parametrize(("bits", "burst_beats", "message"), [(96, 16, "width of 8..1024"), (64, 24, "power of two")])
def test_port_shapes_that_do_not_exist(bits: int, burst_beats: int, message: str) -> None:
    with pytest.raises(CapacityError, match=message):
        axi_read_stream(Design("arc"), bits, burst_beats=burst_beats)


def rogue(kind: str) -> ArcSimulator:
    """A master that does one thing wrong: what its inputs say, or what `kind` names."""
    design = Design("arc")

    def reader(m: Module) -> dict[str, Signal]:
        count = m.counter(8, "count", step=const(1, 1), last=const(0, 1))
        valid = count[2] if kind == "blinks" else count.ne(0)
        address = m["address"] + (count.zext(64) << 6) if kind == "wanders" else m["address"]
        return dict(
            m_arvalid=valid, m_araddr=address, m_arlen=m["length"], m_arsize=m["size"], m_arburst=m["burst"],
            m_rready=const(1, 1),
        )  # fmt: skip

    inputs = {"address": 64, "length": 8, "size": 3, "burst": 2}
    inputs |= {"m_arready": 1, "m_rvalid": 1, "m_rdata": 64, "m_rlast": 1}
    outputs = {"m_arvalid": 1, "m_araddr": 64, "m_arlen": 8, "m_arsize": 3, "m_arburst": 2, "m_rready": 1}
    return ArcSimulator(hw_to_arc(design, design.module("rogue", inputs, outputs, reader)))


@pytest.mark.parametrize(
    ("kind", "constants", "message"),
    [
        ("", {"address": 0x3FFF_FFF8}, "burst outside the memory, port m, address 0x3ffffff8"),
        ("", {"address": 0x4000_1FF8, "length": 1}, "burst outside the memory"),
        ("", {"address": 0xFFFF_FFFF_FFFF_FFF8}, "burst outside the memory"),
        ("", {"address": 0x4000_0004}, "burst not aligned to the port width"),
        ("", {"address": 0x4000_0FF8, "length": 1}, "burst crosses a 4 KB boundary, port m, address 0x40000ff8"),
        ("", {"address": 0x4000_0000, "length": 16}, "burst longer than the port takes"),
        ("", {"address": 0x4000_0000, "size": 2}, "burst type or size other than INCR at port width"),
        ("", {"address": 0x4000_0000, "burst": 0}, "burst type or size other than INCR at port width"),
        ("blinks", {"address": 0x4000_0000}, "valid taken back before ready"),
        ("wanders", {"address": 0x4000_0000}, "address changed while it waited for ready"),
    ],
)
def test_a_rogue_master_is_reported(kind: str, constants: dict[str, int], message: str) -> None:
    bench = TestBench(
        rogue(kind), memory=Memory(0x2000, base=0x4000_0000), constants={"size": 3, "burst": 1} | constants,
        timing=AxiTiming(max_beats=16, stall_address=200 if kind else 0),
    )  # fmt: skip
    bench.reset()
    with pytest.raises(SimulationError, match=f"rogue: stopped at cycle .*{message}"):
        bench.run(500).check()


@pytest.mark.parametrize("last_beat", [0, 2, 3, 5])
def test_wlast_must_mark_the_last_beat(last_beat: int) -> None:
    """A writer of one burst of 4 beats that raises wlast on its beat number `last_beat`."""

    def writer(m: Module) -> dict[str, Signal]:
        asked = m.state(1, "asked", reset=0)
        asked.set(const(1, 1), m["m_awready"])
        moved = m["m_wready"]
        beat = m.counter(3, "beat", step=moved, last=const(0, 1))
        done = m.state(1, "done_q", reset=0)
        return dict(
            m_awvalid=~asked.signal, m_awaddr=const(0, 64), m_awlen=const(3, 8), m_wvalid=const(1, 1),
            m_wdata=beat.zext(32), m_wlast=beat.eq(last_beat), m_bready=const(1, 1),
            done=done.set(const(1, 1), m["m_bvalid"]),
        )  # fmt: skip

    design = Design("arc")
    inputs = {"m_awready": 1, "m_wready": 1, "m_bvalid": 1}
    outputs = {"m_awvalid": 1, "m_awaddr": 64, "m_awlen": 8, "m_wvalid": 1, "m_wdata": 32, "m_wlast": 1, "m_bready": 1}
    name = design.module("rogue", inputs, outputs | {"done": 1}, writer)
    bench = TestBench(ArcSimulator(hw_to_arc(design, name)), memory=Memory(64), until="done")
    bench.reset()
    result = bench.run(500)
    if last_beat == 3:
        assert result.check().stop == "done"
        assert bench.memory.read(0, 16).view("<u4").tolist() == [0, 1, 2, 3]
    else:
        with pytest.raises(SimulationError, match="wlast not on the last beat, or missing there, port m, address"):
            result.check()


def test_timing_of_a_port_that_does_not_exist() -> None:
    with pytest.raises(SimulationError, match=r"expected timing of \['m'\], got \['w7'\]"):
        TestBench(rogue(""), memory=Memory(64), timing={"w7": AxiTiming()})
    with pytest.raises(SimulationError, match=r"expected a latency of 1\.\.\d+ cycles, got 0"):
        AxiTiming(latency=0)
