"""The whole accelerator in simulation: a memory image and a prompt in, tokens and cycles out.

`Accelerator` is a driver at a simulated device. The tasks its engines took are logged beside it, for reports and for
the search for a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lutllm.board.driver import Driver, Outcome
from lutllm.errors import SimulationError
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.simulate.axi_port import AxiTiming
from lutllm.simulate.host import SimulatedDevice
from lutllm.simulate.simulator import Simulator
from lutllm.simulate.testbench import Memory, RunResult, TestBench

CYCLES = 1 << 40  # a run ends by itself or by the bench's watchdog


@dataclass(frozen=True)
class Span:
    """One task of one engine: the cycles in which it was dispatched and done, counted from the reset."""

    engine: str
    dispatched: int
    done: int


@dataclass
class AcceleratorRun:
    """`tokens` made, the `error` by name, `cycles` of the run; `token_cycles`: when each token was there, from the
    start of the run; `spans` in order of dispatch."""

    tokens: list[int]
    error: str
    cycles: int
    token_cycles: list[int]
    spans: list[Span]
    result: RunResult
    watchdog: bool = False
    stalled: list[str] = field(default_factory=list)

    def check(self) -> AcceleratorRun:
        """Return self, or raise `SimulationError` with the error code or with what stood still."""
        if self.error != "none":
            raise SimulationError(f"the accelerator reports error '{self.error}' after {self.cycles} cycles")
        if not self.result.ok:
            raise SimulationError(self.result.message)
        return self


class Accelerator:
    """One accelerator with one memory, whose image lies at `base`; `options` are those of `TestBench`."""

    def __init__(
        self,
        config: AcceleratorConfig,
        simulator: Simulator,
        image: np.ndarray,
        *,
        base: int = 0,
        timing: AxiTiming | dict[str, AxiTiming] | None = None,
        **options: Any,
    ) -> None:
        self.config = config
        simulator.configure()
        self.memory = Memory(image.copy(), base)
        options |= {} if config.clocks is None else {"periods": config.clocks.periods}
        self.bench = TestBench(simulator, memory=self.memory, timing=timing, until="irq", events="events", **options)
        self.device = SimulatedDevice(self.bench)
        self.host = Driver(self.device, config.context)
        self.host.use(image, base)
        self.reset()

    def reset(self, cycles: int = 4, *, memory: bool = True) -> None:
        """Reset the hardware, and let it find out what `memory` owes it, which was reset too or goes on answering.
        Memory keeps its contents, so caches do too."""
        self.bench.reset(cycles, memory=memory)
        self.host.settle()

    def generate(
        self,
        prompt: Sequence[int],
        tokens: int,
        *,
        progress: Callable[[int, list[int]], None] | None = None,
        max_cycles: int = CYCLES,
        **options: Any,
    ) -> AcceleratorRun:
        """`Driver.generate`; `progress` is called now and then with the cycle and the tokens made so far."""
        self.device.left = max_cycles
        told = None if progress is None else lambda made: progress(self.bench.cycle, made)
        return self._run(self.host.generate(prompt, tokens, progress=told, **options))

    def start(self, length: int, tokens: int, *, max_cycles: int = CYCLES, **options: Any) -> AcceleratorRun:
        """Start a run on the sequence of `length` tokens as the registers take it, and wait for its end."""
        self.device.left = max_cycles
        self.host.begin(length, tokens, **options)
        return self._run(self.host.wait(length))

    def load(self, image: np.ndarray) -> None:
        """`Driver.load`, to where the image lies."""
        self.device.left = CYCLES
        self.host.load(image, self.memory.base)

    def verify(self) -> AcceleratorRun:
        """`Driver.verify`."""
        self.device.left = CYCLES
        return self._run(self.host.verify())

    def wait(self, length: int, max_cycles: int = CYCLES) -> AcceleratorRun:
        """The end of a run that the host began, or aborted, on `length` tokens."""
        self.device.left = max_cycles
        return self._run(self.host.wait(length))

    def _run(self, outcome: Outcome) -> AcceleratorRun:
        result = self.device.result
        assert result is not None
        spans = spans_of(result, self.config.engines)
        return AcceleratorRun(
            tokens=outcome.tokens,
            error=outcome.error,
            cycles=outcome.cycles,
            token_cycles=_token_cycles(spans, result.cycles - outcome.cycles, len(outcome.tokens)),
            spans=spans,
            result=result,
            watchdog=outcome.watchdog,
            stalled=[name for i, name in enumerate(self.config.engines) if outcome.stalled >> i & 1],
        )


def spans_of(result: RunResult, engines: Sequence[str]) -> list[Span]:
    """From the event log of an accelerator of `engines`: the n-th task an engine takes is the n-th it ends."""
    assert result.events is not None
    count = len(engines)
    cycles, bits = result.events[:, 0], result.events[:, 1]
    spans: list[tuple[int, int, Span]] = []
    for i, engine in enumerate(engines):
        given, ended = (cycles[bits >> (i + part) & 1 == 1] for part in (0, count))
        last = np.full(len(given) - len(ended), -1)  # under way when the run ended
        for dispatched, done in zip(given, np.concatenate([ended, last]), strict=True):
            spans.append((int(dispatched), i, Span(engine, int(dispatched), int(done))))
    return [span for *_, span in sorted(spans, key=lambda entry: entry[:2])]


def _token_cycles(spans: list[Span], start: int, made: int) -> list[int]:
    """The end of each head program: its last pick, the next task after it being of another engine."""
    picks = [span.done for span in spans if span.engine == "pick" and span.done >= 0]
    each = len(picks) // made if made else 1
    return [done - start for done in picks[each - 1 :: each]][:made]
