"""Images and memories an accelerator of linears cannot run: it ends with an error code, and never hangs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lutllm.lowering.hardware.control.register_map import START, STATUS_BUSY, STATUS_DONE
from lutllm.lowering.machine.targets import find_target
from lutllm.simulate import AxiTiming, SimulationError

TINY = find_target("tiny").engine
Case = Any  # of conftest.py
MakeCase = Callable[..., Case]
Arc = Callable[..., Any]


@pytest.fixture(scope="module")
def made(case: MakeCase) -> Case:
    """Two passes of three linears."""
    shape = dict(pairs=5, outputs=20, G=16)
    return case(TINY, [shape | dict(row_source=source) for source in ("built_row", "built_row", "exact_row")], 7)


def damaged(made: Case, index: int, word: int, bit: int) -> np.ndarray:
    """The image with a bit of a word of a task's descriptor flipped."""
    image, plan = made.image, made.activations.plan
    tasks = plan.program("prefill")
    words = sum(plan.config.task_words(task.engine) for task in tasks[: index % len(tasks)]) + word
    image[plan.regions["prefill.d"].address + 8 * words + bit // 8] ^= 1 << bit % 8
    return image


@pytest.mark.parametrize("index", [0, 5, -1])
def test_a_run_after_a_damaged_descriptor_is_like_the_first(index: int, made: Case, arc: Arc) -> None:
    """In the first, a middle and the last task; its check, engine, size, waits, an address, a field. What was read
    ahead is dropped, so once memory is whole again, all is as after a reset, in as many cycles."""
    cycles = made.run(arc(made)).run.cycles
    for word, bit in ((0, 0), (0, 17), (0, 24), (0, 26), (0, 40), (1, 63), (3, 5)):
        accelerator = made.accelerator(arc(made), damaged(made, index, word, bit), watchdog=2000)
        for _ in range(2):
            with pytest.raises(SimulationError, match="the accelerator reports error 'task'"):
                accelerator.start(made.tokens, 0).check()
        accelerator.memory.write(0, made.image)
        assert accelerator.start(made.tokens, 0).check().cycles == cycles and made.equal(accelerator)


@pytest.mark.parametrize("kind", ["h", "d", "x", "c", "q", "w", "y"])
def test_bad_answers_from_memory(kind: str, made: Case, arc: Arc) -> None:
    """SLVERR for one address of a stream, in the first and in the last linear, in the first and in the last pass."""
    plan = made.activations.plan
    regions = [region for region in plan.regions_of(kind) if region.name != "verify.d"]
    tokens = made.tokens if kind in "xy" else plan.config.context
    for region, part in ((regions[0], 0), (regions[-1], 1)):
        place = region.address + part * (region.size * tokens // plan.config.context - 1)
        accelerator = made.accelerator(arc(made), fault=(place, place + 1), watchdog=2000)
        for _ in range(2):
            assert accelerator.start(made.tokens, 0).error == ("memory_write" if kind == "y" else "memory_read")
    made.run(arc(made))


@pytest.mark.parametrize(
    ("asked", "error"),
    [(dict(length=0), "prompt"), (dict(length=41), "prompt"), (dict(length=7, position=7), "prompt"),
     (dict(length=7, model=1), "model")],
)  # fmt: skip
def test_what_the_host_gets_wrong(asked: dict[str, int], error: str, made: Case, arc: Arc) -> None:
    accelerator = made.accelerator(arc(made))
    assert accelerator.start(tokens=0, **asked).error == error
    assert not any(port.bursts for name, port in accelerator.bench.run(0).ports.items() if name != "m_axi_d")


def test_start_while_busy_is_ignored(made: Case, arc: Arc) -> None:
    """Registers cannot be written then; what the run takes from memory is what it always takes."""
    accelerator = made.accelerator(arc(made))
    beats = accelerator.start(made.tokens, 0).check().result.ports["m_axi_d"].beats
    accelerator = made.accelerator(arc(made))
    accelerator.host.begin(made.tokens, 0)
    assert accelerator.bench.run(40).stop == "the cycle limit"
    with pytest.raises(SimulationError, match="write of register POSITION: expected OKAY, got the response 2"):
        accelerator.host.begin(3, 0)
    accelerator.host.write("CONTROL", START)
    run = accelerator.wait(made.tokens).check()
    assert run.result.ports["m_axi_d"].beats == beats and made.equal(accelerator)


def test_done_stands_without_a_start(made: Case, arc: Arc) -> None:
    accelerator = made.accelerator(arc(made))
    assert accelerator.host.read("STATUS") == 0
    accelerator.start(made.tokens, 0).check()
    accelerator.bench.step(20)
    assert accelerator.host.read("STATUS") == STATUS_DONE
    accelerator.host.begin(made.tokens, 0)
    assert accelerator.host.read("STATUS") == STATUS_BUSY
    accelerator.reset()
    assert accelerator.host.read("STATUS") == 0


def test_a_host_cannot_write_tokens_where_there_are_none(made: Case, arc: Arc) -> None:
    with pytest.raises(SimulationError, match="expected OKAY, got the response 2"):
        made.accelerator(arc(made)).host.prompt([1, 2])


def test_a_memory_that_stops_answering_is_reported(made: Case, arc: Arc) -> None:
    slow = {"m_axi_c": AxiTiming(latency=10**6)}
    with pytest.raises(SimulationError, match=r"watchdog.*m_axi_c: memory has no beat yet \(\d+ bursts? in flight\)"):
        made.run(arc(made), timing=slow, watchdog=500)
