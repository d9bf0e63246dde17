"""Programs and memories an engine cannot run: it ends with `done` and an error code, and never hangs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lutllm.errors import InputError
from lutllm.lowering.engine import ROUND_BITS
from lutllm.lowering.engine_hw.sequencer import ERRORS
from lutllm.lowering.image.linear import load_memory, output_values
from lutllm.lowering.targets import TARGETS
from lutllm.simulate import AxiTiming, Memory, RunResult, SimulationError, TestBench, run_program
from lutllm.simulate.program import compare, run_image, simulate_program

TINY = TARGETS["tiny"].engine
NO_TABLES = replace(TINY, row_sources=("exact_row", "built_row"))
Case = Any  # of conftest.py
MakeCase = Callable[..., Case]
MakeEngine = Callable[..., Any]

# (fields of the second round's descriptor, name of the error)
BAD_ROUNDS = [
    (dict(magic=0), "descriptor"),
    (dict(magic=0x4C54), "descriptor"),
    (dict(mode=2), "row_source"),  # built_table, which this engine does not have
    (dict(mode=3), "row_source"),
    (dict(mode=4), "row_source"),
    (dict(mode=255), "row_source"),
    (dict(tokens=0), "tokens"),
    (dict(tokens=5), "tokens"),
    (dict(tokens=0xFFFF), "tokens"),
    (dict(groups=0), "descriptor"),
    (dict(stages=0), "descriptor"),
    (dict(blocks=0), "descriptor"),
    (dict(block_chunks=0), "descriptor"),
    (dict(last_chunks=0), "descriptor"),
    (dict(magic=0, mode=9, tokens=0), "descriptor"),  # the first of several
]


def patched(image: np.ndarray, address: int, fields: dict[str, int]) -> np.ndarray:
    """The image with other values in the fields of the descriptor at `address`."""
    image, low = image.copy(), 0
    for name, width in ROUND_BITS.items():
        if name in fields:
            place = address + low // 8
            image[place : place + width // 8] = list(fields[name].to_bytes(width // 8, "little"))
        low += width
    return image


@pytest.fixture(scope="module")
def made(case: MakeCase) -> Case:
    shape = dict(pairs=5, outputs=20, tokens=3, G=16)
    return case(NO_TABLES, [shape | dict(row_source=source) for source in ("built_row", "built_row", "exact_row")])


@pytest.fixture(scope="module")
def image(made: Case) -> np.ndarray:
    return load_memory(made.program, made.linears, made.inputs)


def results_equal(made: Case, memory: Memory, rounds: int = 3) -> bool:
    equal = []
    for round_ in made.program.rounds[:rounds]:
        region = made.program.regions[round_.y]
        values = output_values(made.program, round_, memory.read(region.address, region.size))
        equal.append(np.array_equal(values, made.golden[round_.linear]))
    return all(equal)


@pytest.mark.parametrize(("fields", "name"), BAD_ROUNDS, ids=[str(fields) for fields, _ in BAD_ROUNDS])
@pytest.mark.parametrize("index", [0, 1, 2])
def test_bad_descriptor(
    fields: dict[str, int], name: str, index: int, made: Case, image: np.ndarray, arc_engine: MakeEngine
) -> None:
    """In the first, a middle and the last round. After a reset the engine runs good programs again."""
    place = made.program.descriptors.address + index * TINY.descriptor_words * 8
    simulator = arc_engine(NO_TABLES)
    result = run_program(
        simulator, Memory(patched(image, place, fields)), made.program.descriptors.address, 3, watchdog=1000
    )
    assert (result.stop, result.error) == ("done", ERRORS.index(name))
    assert not result.ok and simulator.peek("busy") == 0
    with pytest.raises(SimulationError, match=f"the design reports error code {ERRORS.index(name)}"):
        result.check()
    if index == 1:
        memory = Memory(image.copy())
        run_program(simulator, memory, made.program.descriptors.address, 3).check()
        assert results_equal(made, memory)


@pytest.mark.parametrize("kind", ["d", "x", "c", "q", "w", "y"])
def test_bad_answer_from_memory(kind: str, made: Case, image: np.ndarray, arc_engine: MakeEngine) -> None:
    """SLVERR for one address of a stream, in the first and in the last round."""
    simulator = arc_engine(NO_TABLES)
    for round_ in (made.program.rounds[0], made.program.rounds[-1]):
        name = {"d": made.program.descriptors.name, "w": round_.w[0]}.get(kind) or getattr(round_, kind)
        region = made.program.regions[name]
        place = region.address + region.size - 1
        memory = Memory(image.copy())
        result = run_program(
            simulator, memory, made.program.descriptors.address, 3, fault=(place, place + 1), watchdog=1000
        )
        expected = "memory_write" if kind == "y" else "memory_read"
        assert (result.stop, result.error, result.ok) == ("done", ERRORS.index(expected), False)
    memory = Memory(image.copy())
    run_program(simulator, memory, made.program.descriptors.address, 3).check()
    assert results_equal(made, memory)


def started(made: Case, image: np.ndarray, simulator: Any, rounds: int) -> tuple[TestBench, Memory]:
    memory = Memory(image.copy())
    bench = TestBench(simulator, memory=memory, watchdog=1000)
    bench.reset()
    bench.start(made.program.descriptors.address, rounds)
    return bench, memory


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_bad_descriptor_stands_until_reset(index: int, made: Case, image: np.ndarray, arc_engine: MakeEngine) -> None:
    """What was read ahead of the bad round is still inside, so another start ends at once, with the same error."""
    place = made.program.descriptors.address + index * TINY.descriptor_words * 8
    memory = Memory(patched(image, place, dict(tokens=0)))
    bench = TestBench(arc_engine(NO_TABLES), memory=memory, watchdog=1000)
    bench.reset()
    for _ in range(3):
        bench.start(made.program.descriptors.address, 3)
        result = bench.run()
        assert (result.stop, result.error) == ("done", ERRORS.index("tokens"))
        memory.write(0, image)
    bench.reset()
    bench.start(made.program.descriptors.address, 3)
    bench.run().check()
    assert results_equal(made, memory)


def test_a_memory_error_stands_until_reset(made: Case, image: np.ndarray, arc_engine: MakeEngine) -> None:
    """A start that does not reset ends at once with the same error, even for a program that reads nothing."""
    simulator = arc_engine(NO_TABLES)
    place = made.program.regions[made.program.rounds[0].x].address
    bench = TestBench(simulator, memory=Memory(image.copy()), fault=(place, place + 1))
    bench.reset()
    for rounds in (3, 0):
        bench.start(made.program.descriptors.address, rounds)
        assert bench.run().error == ERRORS.index("memory_read")


def test_a_program_of_no_rounds(made: Case, image: np.ndarray, arc_engine: MakeEngine) -> None:
    """It is done at once, asks memory for nothing, and the next program runs."""
    bench, memory = started(made, image, arc_engine(NO_TABLES), 0)
    result = bench.run().check()
    assert result.cycles < 10 and all(port.bursts == 0 for port in result.ports.values())
    bench.start(made.program.descriptors.address, 3)
    bench.run().check()
    assert results_equal(made, memory)


def test_start_while_busy_is_ignored(made: Case, image: np.ndarray, arc_engine: MakeEngine) -> None:
    bench, memory = started(made, image, arc_engine(NO_TABLES), 3)
    assert bench.run(40).stop == "the cycle limit"
    bench.start(12345, 77)
    assert bench.run().check().ports["m_axi_d"].beats == 3 * TINY.descriptor_words
    assert results_equal(made, memory)


def test_part_of_a_program(made: Case, image: np.ndarray, arc_engine: MakeEngine) -> None:
    """`program_length` says how many rounds run."""
    for rounds in (1, 2):
        bench, memory = started(made, image, arc_engine(NO_TABLES), rounds)
        bench.run().check()
        assert results_equal(made, memory, rounds)
        region = made.program.regions[made.program.rounds[rounds].y]
        assert not memory.read(region.address, region.size).any()


def test_done_and_error_stand_without_a_start(made: Case, image: np.ndarray, arc_engine: MakeEngine) -> None:
    simulator = arc_engine(NO_TABLES)
    bad = patched(image, made.program.descriptors.address, dict(tokens=0))
    bench, _ = started(made, bad, simulator, 3)
    result: RunResult = bench.run()
    assert result.error == ERRORS.index("tokens")
    simulator.cycle(20)
    assert (simulator.peek("done"), simulator.peek("error")) == (1, ERRORS.index("tokens"))
    bench.reset()
    assert (simulator.peek("done"), simulator.peek("error"), simulator.peek("busy")) == (0, 0, 0)


def test_image_of_another_size_is_refused(made: Case, image: np.ndarray, arc_engine: MakeEngine) -> None:
    size = made.program.memory_bytes
    message = f"memory image: expected {size} bytes as the program's map says, got {size - 1}"
    with pytest.raises(InputError, match=message):
        run_image(made.program, image[:-1], arc_engine(NO_TABLES))


def test_golden_results_of_another_shape_are_refused(made: Case, arc_engine: MakeEngine) -> None:
    run = simulate_program(made.program, made.linears, made.inputs, arc_engine(NO_TABLES))
    golden = made.golden | {"layer1": made.golden["layer1"][:2]}
    with pytest.raises(InputError, match=r"layer1: expected golden results of shape \[3, 20\], got \[2, 20\]"):
        compare(run, golden)


def test_a_memory_that_stops_answering_is_reported(made: Case, arc_engine: MakeEngine) -> None:
    slow = {"m_axi_c": AxiTiming(latency=10**6)}
    with pytest.raises(SimulationError, match=r"watchdog.*m_axi_c: memory has no beat yet \(\d+ bursts? in flight\)"):
        simulate_program(made.program, made.linears, made.inputs, arc_engine(NO_TABLES), timing=slow, watchdog=500)
