"""A small design that reads and writes memory: the same run in the arc JIT and in Verilator."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from lutllm.errors import MissingDependencyError
from lutllm.lowering.export.hw_to_arc import ArcModel, hw_to_arc
from lutllm.lowering.export.hw_to_sv import hw_ports, hw_to_sv
from lutllm.lowering.hardware.lib.axi import axi_read_stream, axi_write_stream, read_bus, write_bus
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal
from lutllm.simulate import (
    ArcSimulator,
    AxiTiming,
    Memory,
    RunResult,
    SimulationError,
    Simulator,
    TestBench,
    VerilatorSimulator,
    run_streams,
)

BASE, BITS = 0x8000_0000, 128
STALLING = {
    "r": AxiTiming(latency=40, stall_address=60, stall_data=60),
    "w": AxiTiming(latency=11, stall_data=80, stall_response=99, outstanding=2),
}


def adder(target: str) -> Design:
    """For each command reads `beats` beats at `address`, adds 1 to each, writes them 64 KB further."""
    design = Design(target)
    reader = design.loose(axi_read_stream(design, BITS, burst_beats=8))
    writer = design.loose(axi_write_stream(design, BITS, burst_beats=8))

    def body(m: Module) -> dict[str, Signal]:
        take, ready = Wire(1), Wire(1)
        command = {"command_valid": take.signal, "command_beats": m["command_beats"]}
        inputs = {name: m[f"r_{name}"] for name in read_bus(BITS).back} | {"clear": m.rst}
        read = m.instance(
            reader, "reader", data_ready=ready.signal, command_address=m["command_address"], **command, **inputs
        )
        inputs = {name: m[f"w_{name}"] for name in write_bus(BITS).back} | {"clear": m.rst, "hard": m.rst}
        data = {"data_valid": read["data_valid"], "data_data": read["data_data"] + 1}
        target = m["command_address"] + 65536
        write = m.instance(writer, "writer", command_address=target, **command, **data, **inputs)
        ready.assign(write["data_ready"])
        both = read["command_ready"] & write["command_ready"]
        take.assign(m["command_valid"] & both)
        outputs = {"command_ready": both, "idle": read["idle"] & write["idle"], "error": read["error"] | write["error"]}
        outputs |= {f"r_{name}": read[name] for name in read_bus(BITS).forward}
        return outputs | {f"w_{name}": write[name] for name in write_bus(BITS).forward}

    inputs = {"command_valid": 1, "command_address": 64, "command_beats": 32}
    inputs |= {f"r_{name}": width for name, width in read_bus(BITS).back.items()}
    inputs |= {f"w_{name}": width for name, width in write_bus(BITS).back.items()}
    outputs = {"command_ready": 1, "idle": 1, "error": 1}
    outputs |= {f"r_{name}": width for name, width in read_bus(BITS).forward.items()}
    outputs |= {f"w_{name}": width for name, width in write_bus(BITS).forward.items()}
    design.module("adder", inputs, outputs, body)
    return design


def commands(*places: tuple[int, int]) -> dict[str, dict[str, np.ndarray]]:
    """The stream of commands: (place in memory, beats) each."""
    return {"command": {"address": np.array([BASE + p for p, _ in places]), "beats": np.array([n for _, n in places])}}


def run(simulator: Simulator, memory: Memory, *places: tuple[int, int], **options: object) -> RunResult:
    return run_streams(simulator, commands(*places), {}, memory=memory, until="idle", **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model() -> ArcModel:
    return hw_to_arc(adder("arc"), "adder")


@pytest.fixture(scope="module")
def arc(model: ArcModel) -> ArcSimulator:
    return ArcSimulator(model)


@pytest.fixture(scope="module")
def rtl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("rtl")
    hw_to_sv(adder("sv"), "adder", directory)
    return directory


@pytest.fixture(scope="module")
def verilator(rtl: Path) -> VerilatorSimulator:
    if shutil.which("verilator") is None:
        pytest.skip("verilator is not installed (apt install verilator g++ make)")
    return VerilatorSimulator(rtl, "adder", hw_ports(adder("sv"), "adder"), trace=True, random_start=5)


def filled_memory(seed: int = 0) -> Memory:
    memory = Memory(1 << 17, base=BASE)
    memory.data[:65536] = np.random.default_rng(seed).integers(0, 255, 65536, dtype=np.uint8)
    return memory


def plus_one(memory: Memory, start: int, beats: int) -> np.ndarray:
    """What the design writes: a byte below 255 at the low end grows without a carry."""
    expected = memory.read(BASE + start, beats * 16).reshape(beats, 16)
    expected[:, 0] += 1
    return expected.reshape(-1)


@pytest.mark.parametrize("timing", [AxiTiming(latency=3), STALLING], ids=["steady", "stalling"])
@pytest.mark.parametrize("kind", ["arc", "verilator"])
def test_result_and_traffic(kind: str, timing: object, request: pytest.FixtureRequest) -> None:
    simulator: Simulator = request.getfixturevalue(kind)
    for places in (((0, 1),), ((16 * 253, 700), (0, 1), (6400, 9))):
        memory = filled_memory()
        result = run(simulator, memory, *places, timing=timing, seed=3).check()
        assert result.stop == "all words moved"
        for start, beats in places:
            assert np.array_equal(memory.read(BASE + 65536 + start, beats * 16), plus_one(memory, start, beats))
        total = sum(beats for _, beats in places)
        assert result.ports["r"].beats == result.ports["w"].beats == total
        assert result.ports["w"].bytes == 16 * total


def test_both_simulators_agree_to_the_cycle(arc: ArcSimulator, verilator: VerilatorSimulator) -> None:
    for seed, timing in ((1, AxiTiming(latency=1)), (2, STALLING), (3, STALLING), (4, AxiTiming(bytes_per_cycle=5))):
        results, memories = [], []
        for simulator in (arc, verilator):
            memories.append(filled_memory(seed))
            results.append(run(simulator, memories[-1], (64, 300), timing=timing, seed=seed).check())
        assert results[0].cycles == results[1].cycles
        assert results[0].ports == results[1].ports
        assert np.array_equal(memories[0].data, memories[1].data)
        places = range(BASE + 65536, BASE + 65536 + 5000, 16)
        assert [results[0].write_cycle(p) for p in places] == [results[1].write_cycle(p) for p in places]


@pytest.mark.parametrize("kind", ["arc", "verilator"])
def test_reset_in_mid_run(kind: str, request: pytest.FixtureRequest) -> None:
    memory = filled_memory()
    bench = TestBench(
        request.getfixturevalue(kind),
        memory=memory,
        timing=STALLING,
        inputs=commands((0, 1000), (3200, 50)),
        until="idle",
    )
    bench.reset()
    assert bench.run(200).stop == "the cycle limit"
    bench.reset()
    bench.run().check()
    assert np.array_equal(memory.read(BASE + 65536, 16000), plus_one(memory, 0, 1000))


def test_error_response_and_burst_outside_the_memory(arc: ArcSimulator) -> None:
    result = run(arc, filled_memory(), (0, 20), fault=(BASE + 100, BASE + 101))
    assert result.stop == "all words moved" and result.error == 1
    with pytest.raises(SimulationError, match="the design reports error code 1"):
        result.check()
    result = run(arc, filled_memory(), ((1 << 17) - 16, 1))
    with pytest.raises(SimulationError, match="burst outside the memory, port w, address 0x8002fff0"):
        result.check()


def test_watchdog_names_the_stalled_channels(arc: ArcSimulator) -> None:
    timing = {"r": AxiTiming(latency=100000), "w": AxiTiming()}
    result = run(arc, filled_memory(), (0, 20), timing=timing, watchdog=300)
    assert result.stop == "watchdog" and not result.ok
    assert "r: memory has no beat yet (3 bursts in flight)" in result.message


def test_waveform_of_ports_and_registers(arc: ArcSimulator, tmp_path: Path) -> None:
    result = run(
        arc, filled_memory(), (0, 64), timing=AxiTiming(latency=5), trace=(10, 50), probes=["writer/data_queue/count"]
    ).check()
    assert result.trace is not None
    stored = result.trace.values("writer/data_queue/count")
    assert len(stored) == 50 and 0 < max(stored) <= result.peaks["writer/data_queue/count"]
    beats = [r & v for r, v in zip(result.trace.values("w_wready"), result.trace.values("w_wvalid"), strict=True)]
    stamps = {result.write_cycle(BASE + 65536 + 16 * i) for i in range(64)}
    assert {10 + i for i, beat in enumerate(beats) if beat} == {s for s in stamps if s is not None and 10 <= s < 60}
    path = tmp_path / "wave.vcd"
    result.trace.write_vcd(path)
    text = path.read_text()
    assert re.search(r"\$scope module data_queue \$end", text)
    assert re.search(r"\$var wire 128 \S+ r_rdata", text)
    assert int(re.findall(r"^#(\d+)$", text, re.M)[0]) == 10


def test_verilator_waveform(verilator: VerilatorSimulator, tmp_path: Path) -> None:
    path = tmp_path / "wave.vcd"
    verilator.trace_to(path)
    cycles = run(verilator, filled_memory(), (0, 10)).check().cycles
    verilator.trace_to(None)
    text = path.read_text()
    assert "beats_to_boundary" in text
    assert text.count("\n#") > cycles


def test_arc_has_no_waveform_of_its_own(arc: ArcSimulator) -> None:
    with pytest.raises(SimulationError, match="ask the test bench for one"):
        arc.trace_to("wave.vcd")


def test_missing_verilator_says_what_to_install(rtl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingDependencyError, match=r"'verilator'.*apt install verilator"):
        VerilatorSimulator(rtl, "adder", ())


def test_verilator_reports_a_broken_file(rtl: Path, tmp_path: Path) -> None:
    if shutil.which("verilator") is None:
        pytest.skip("verilator is not installed (apt install verilator g++ make)")
    (tmp_path / "filelist.f").write_text("broken.sv\n")
    (tmp_path / "broken.sv").write_text("module broken(input clk);\n  assign x = ;\nendmodule\n")
    with pytest.raises(SimulationError, match=r"verilator failed on the design.*broken.sv:2"):
        VerilatorSimulator(tmp_path, "broken", ())


def test_a_library_built_before_is_used_again(rtl: Path, tmp_path: Path, verilator: VerilatorSimulator) -> None:
    ports = hw_ports(adder("sv"), "adder")
    for _ in range(2):
        simulator = VerilatorSimulator(rtl, "adder", ports, build_directory=tmp_path)
        run(simulator, filled_memory(), (0, 3)).check()
        simulator.close()
        libraries = list(tmp_path.glob("*/libmodel.so"))
        assert len(libraries) == 1 and len(list(tmp_path.iterdir())) == 1
        stamp = libraries[0].stat().st_mtime_ns
    assert libraries[0].stat().st_mtime_ns == stamp
