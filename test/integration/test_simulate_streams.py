"""The test bench's streams: words in, words out, stalls, and every way a stream can go wrong."""

import numpy as np
import pytest

from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, const
from lutllm.lowering.hardware.lib.stream import fifo
from lutllm.simulate import ArcSimulator, SimulationError, TestBench, run_streams


def simulator(make) -> ArcSimulator:  # type: ignore[no-untyped-def]
    design = Design("arc")
    return ArcSimulator(hw_to_arc(design, make(design)))


def words(rng: np.random.Generator, count: int, bits: int) -> np.ndarray:
    if bits <= 64:
        return rng.integers(0, 1 << bits, count, dtype=np.uint64)
    rows = rng.integers(0, 256, (count, -(-bits // 8)), dtype=np.uint8)
    rows[:, -1] &= 0xFF >> (-bits % 8)
    return rows


@pytest.mark.parametrize("bits", [1, 7, 13, 32, 63, 64, 65, 129, 512, 2048])
def test_fifo_keeps_words_and_order(bits: int) -> None:
    sent = words(np.random.default_rng(bits), 300, min(bits, 63) if bits <= 64 else bits)
    design = simulator(lambda d: fifo(d, bits, 5))
    for stalls, seed in ((0, 1), (100, 2), ({"out": 200}, 3), ({"in": 200}, 4)):
        result = run_streams(design, {"in": sent}, {"out": 300}, stalls=stalls, seed=seed).check()
        assert np.array_equal(result.outputs["out"], sent)


def test_cycles_are_exact_and_reproducible() -> None:
    """Without stalls the first word enters in cycle 0, leaves in cycle 1, and one follows each cycle."""
    design, sent = simulator(lambda d: fifo(d, 8, 4)), np.arange(50)
    result = run_streams(design, {"in": sent}, {"out": 50}).check()
    assert result.stream_cycles["in"].tolist() == list(range(50))
    assert result.stream_cycles["out"].tolist() == list(range(1, 51))
    runs = [run_streams(design, {"in": sent}, {"out": 50}, stalls=128, seed=seed) for seed in (7, 7, 8)]
    assert runs[0].cycles == runs[1].cycles != runs[2].cycles
    assert runs[0].stream_cycles["out"].tolist() == runs[1].stream_cycles["out"].tolist()


def test_combinational_paths_from_inputs_to_outputs_are_followed() -> None:
    """A stage whose in_ready depends on out_ready in the same cycle, and out_data on in_data."""

    def wire(design: Design) -> str:
        def body(m: Module) -> dict[str, Signal]:
            return {"in_ready": m["out_ready"], "out_valid": m["in_valid"], "out_data": m["in_data"] + 1}

        inputs, outputs = (
            {"in_valid": 1, "in_data": 16, "out_ready": 1},
            {"in_ready": 1, "out_valid": 1, "out_data": 16},
        )
        return design.module("wire", inputs, outputs, body)

    result = run_streams(simulator(wire), {"in": np.arange(100)}, {"out": 100}, stalls=90).check()
    assert np.array_equal(result.outputs["out"], np.arange(1, 101))
    assert np.array_equal(result.stream_cycles["in"], result.stream_cycles["out"])


def test_fields_and_negative_values() -> None:
    def swap(design: Design) -> str:
        def body(m: Module) -> dict[str, Signal]:
            return {
                "in_ready": m["out_ready"],
                "out_valid": m["in_valid"],
                "out_low": m["in_b"],
                "out_high": m["in_a"].sext(9),
            }

        inputs = {"in_valid": 1, "in_a": 6, "in_b": 70, "out_ready": 1}
        return design.module("swap", inputs, {"in_ready": 1, "out_valid": 1, "out_low": 70, "out_high": 9}, body)

    a, b = np.array([-32, -1, 31]), words(np.random.default_rng(0), 3, 70)
    result = run_streams(simulator(swap), {"in": {"a": a, "b": b}}, {"out": 3}).check()
    assert np.array_equal(result.outputs["out"]["low"], b)
    assert result.outputs["out"]["high"].tolist() == [512 - 32, 511, 31]


def test_missing_words_end_in_a_watchdog_that_names_the_stream() -> None:
    result = run_streams(simulator(lambda d: fifo(d, 8, 4)), {"in": np.arange(9)}, {"out": 10}, watchdog=50)
    assert not result.ok and result.stop == "watchdog"
    with pytest.raises(
        SimulationError, match=r"nothing moved for 50 cycles.*out: ready waits for valid \(word 9 of 10\)"
    ):
        result.check()


def test_surplus_words_are_an_error() -> None:
    result = run_streams(simulator(lambda d: fifo(d, 8, 4)), {"in": np.arange(9)}, {"out": 7})
    with pytest.raises(SimulationError, match="expected no more words, but out gave 2 more"):
        result.check()


def test_cycle_limit() -> None:
    result = run_streams(simulator(lambda d: fifo(d, 8, 4)), {"in": np.arange(90)}, {"out": 90}, max_cycles=20)
    assert result.stop == "the cycle limit" and result.cycles == 20 and not result.ok


def test_valid_taken_back_is_an_error() -> None:
    def blinker(design: Design) -> str:
        def body(m: Module) -> dict[str, Signal]:
            phase = m.state(1, "phase", reset=0)
            return {"out_valid": phase.set(~phase.signal), "out_data": const(1, 1)}

        return design.module("blinker", {"out_ready": 1}, {"out_valid": 1, "out_data": 1}, body)

    result = run_streams(simulator(blinker), {}, {"out": 1000}, stalls=128)
    with pytest.raises(SimulationError, match="valid taken back before ready, stream out"):
        result.check()


def test_a_run_can_be_continued() -> None:
    design, sent = simulator(lambda d: fifo(d, 8, 4)), np.arange(60)
    whole = run_streams(design, {"in": sent}, {"out": 60}, stalls=90, seed=5)
    bench = TestBench(design, inputs={"in": sent}, outputs={"out": 60}, stalls=90, seed=5)
    bench.reset()
    while not (result := bench.run(7)).ok:
        assert result.stop == "the cycle limit"
    assert result.cycles == whole.cycles
    assert np.array_equal(result.outputs["out"], sent)


def test_reset_clears_random_registers() -> None:
    design, sent = simulator(lambda d: fifo(d, 8, 4)), np.arange(60)
    design.randomize(3)
    assert np.array_equal(run_streams(design, {"in": sent}, {"out": 60}).check().outputs["out"], sent)


def test_probes_record_peaks() -> None:
    design = simulator(lambda d: fifo(d, 8, 9))
    full = run_streams(design, {"in": np.arange(60)}, {"out": 60}, stalls={"out": 200}, probes=["count"]).check()
    flowing = run_streams(design, {"in": np.arange(60)}, {"out": 60}, probes=["count"]).check()
    assert full.peaks == {"count": 9} and flowing.peaks == {"count": 1}


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ({"nothing": np.arange(3)}, {}, "it has no port nothing_valid"),
        ({"out": np.arange(3)}, {}, "to be an input"),
        ({"in": {"word": np.arange(3)}}, {}, r"expected fields \['data'\], got \['word'\]"),
        ({"in": np.array([256])}, {}, "expected values of 8 bits, got 256..256"),
        ({"in": np.zeros((3, 2), np.uint8)}, {}, "expected uint8 rows of 1 bytes"),
        ({}, {"out_x": 4}, "it has no port out_x_valid"),
    ],
)
def test_wrong_stimulus_is_refused(inputs, outputs, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SimulationError, match=message):
        run_streams(simulator(lambda d: fifo(d, 8, 4)), inputs, outputs)


def test_ports_refuse_what_they_cannot_hold() -> None:
    design = simulator(lambda d: fifo(d, 8, 4))
    with pytest.raises(SimulationError, match="expected a value of 8 bits for port 'in_data', got 256"):
        design.poke("in_data", 256)
    with pytest.raises(SimulationError, match="expected an input of 'fifo_4x8', got output 'out_data'"):
        design.poke("out_data", 1)
    with pytest.raises(SimulationError, match=r"expected a port of 'fifo_4x8' \(clk, rst,.*got 'nothing'"):
        design.peek("nothing")
