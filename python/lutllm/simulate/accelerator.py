"""The whole accelerator in simulation: a memory image and a prompt in, tokens and cycles out.

`Accelerator` is what a host sees: it writes a prompt and a few registers, waits for the interrupt, reads tokens. The
tasks its engines took are logged beside it, for reports and for the search for a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lutllm.errors import InputError, SimulationError
from lutllm.lowering.export.image.whole import model_of
from lutllm.lowering.hardware.control.register_map import (
    ENDED,
    START,
    STATUS_BUSY,
    STATUS_ERROR_MASK,
    STATUS_ERROR_SHIFT,
    STATUS_WATCHDOG,
    STOP_ENABLE,
    STOPS,
    STUCK,
    VERIFY,
    WORD_BYTES,
    window,
)
from lutllm.lowering.machine.accelerator import ERRORS, AcceleratorConfig
from lutllm.simulate.axi_port import AxiTiming
from lutllm.simulate.host import Host
from lutllm.simulate.simulator import Simulator
from lutllm.simulate.testbench import CYCLE_LIMIT, DONE, WATCHDOG, Memory, RunResult, TestBench

CYCLES = 1 << 40  # a run ends by itself or by the bench's watchdog
QUIET = 1 << 20  # cycles from a reset until nothing may be under way
POLL = 50_000  # cycles between two looks at the registers


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
        self.config, self.base = config, base
        simulator.configure()
        self.memory = Memory(image.copy(), base)
        options |= {} if config.clocks is None else {"periods": config.clocks.periods}
        self.bench = TestBench(simulator, memory=self.memory, timing=timing, until="irq", events="events", **options)
        self.host = Host(self.bench)
        self.model = model_of(image)
        self.reset()

    def reset(self, cycles: int = 4, *, memory: bool = True) -> None:
        """Reset the hardware, and let it find out what `memory` owes it, which was reset too or goes on answering.
        Memory keeps its contents, so caches do too."""
        self.bench.reset(cycles, memory=memory)
        end = self.bench.cycle + QUIET
        while self.host.read("STATUS") & STATUS_BUSY:
            if self.bench.cycle > end:
                raise SimulationError(f"expected the bus to be quiet {QUIET} cycles after a reset, got STATUS busy")
            self.bench.step(64)
        self.sequence: list[int] = []

    def generate(
        self,
        prompt: Sequence[int],
        tokens: int,
        *,
        stops: Collection[int] = (),
        position: int = 0,
        progress: Callable[[int, list[int]], None] | None = None,
        max_cycles: int = CYCLES,
    ) -> AcceleratorRun:
        """Read `prompt` from `position` on and make up to `tokens` tokens, greedily; ends after any of `stops`.

        `progress` is called now and then with the cycle and the tokens made so far.
        """
        ids = [*self.sequence[:position], *map(int, prompt)]
        if len(ids) > self.config.context:
            raise InputError(
                f"expected at most {self.config.context} tokens, the context, got {len(ids)}; shorten the prompt"
            )
        self.load(prompt, position)
        return self.start(len(ids), tokens, stops=stops, position=position, progress=progress, max_cycles=max_cycles)

    def load(self, ids: Sequence[int], position: int = 0) -> None:
        """Write token ids into the sequence from `position` on."""
        first = window(self.config)
        for i, token in enumerate(ids, position):
            self.host.write(first + WORD_BYTES * i, int(token))
        self.sequence[position:] = map(int, ids)

    def start(
        self,
        length: int,
        tokens: int,
        *,
        stops: Collection[int] = (),
        position: int = 0,
        model: int | None = None,
        progress: Callable[[int, list[int]], None] | None = None,
        max_cycles: int = CYCLES,
    ) -> AcceleratorRun:
        """Start a run on the sequence of `length` tokens as the registers take it, and wait for its end."""
        self.begin(length, tokens, stops=stops, position=position, model=model)
        return self.finished(self._watched(length, progress, max_cycles), length)

    def verify(self) -> AcceleratorRun:
        """Have every region of the image checked, whose bytes the accelerator does not change; error `checksum` where
        one is damaged."""
        self.begin(0, 0, verify=True)
        return self.finished(self.bench.run(CYCLES), 0)

    def begin(
        self,
        length: int,
        tokens: int,
        *,
        stops: Collection[int] = (),
        position: int = 0,
        model: int | None = None,
        verify: bool = False,
    ) -> None:
        """Start a run and let it go; `finished` reads what came of it, once the bench has run."""
        model = self.model if model is None else model
        values = {
            "GIE": 1,
            "IER": ENDED | STUCK,
            "ISR": ENDED | STUCK,
            "POSITION": position,
            "LENGTH": length,
            "TOKENS": tokens,
            "IMAGE_LOW": self.base & 0xFFFFFFFF,
            "IMAGE_HIGH": self.base >> 32,
            "MODEL_LOW": model & 0xFFFFFFFF,
            "MODEL_HIGH": model >> 32,
        }
        if len(stops) > STOPS:
            raise InputError(f"expected at most {STOPS} tokens that end a run, got {len(stops)}; leave some out")
        places = [STOP_ENABLE | stop for stop in sorted(stops)] + [0] * (STOPS - len(stops))
        values |= {f"STOP{i}": value for i, value in enumerate(places)}
        for name, value in values.items():
            self.host.write(name, value)
        self.host.write("CONTROL", VERIFY if verify else START)

    def _watched(self, length: int, progress: Callable[[int, list[int]], None] | None, max_cycles: int) -> RunResult:
        """Run to the end; with `progress`, look at the registers as a host does that wants tokens as they come."""
        if progress is None:
            return self.bench.run(max_cycles)
        tokens: list[int] = []
        while True:
            result = self.bench.run(min(POLL, max_cycles))
            max_cycles -= POLL
            if result.stop != CYCLE_LIMIT or max_cycles <= 0:
                return result
            tokens += self._made(length, len(tokens), self.host.read("MADE"))
            progress(result.cycles, tokens)

    def _made(self, length: int, first: int, end: int) -> list[int]:
        """Tokens number `first` .. `end` - 1 of a run that began with `length`."""
        address = window(self.config) + WORD_BYTES * length
        return [self.host.read(address + WORD_BYTES * i) for i in range(first, end)]

    def finished(self, result: RunResult, length: int) -> AcceleratorRun:
        """What a host reads after a run on `length` tokens."""
        if result.stop not in (DONE, CYCLE_LIMIT, WATCHDOG):
            result.check()  # a rule of the bus is broken: no register can be read after that
        status, made = self.host.read("STATUS"), self.host.read("MADE")
        cycles = self.host.read("CYCLES_LOW") | self.host.read("CYCLES_HIGH") << 32
        last = self.host.read("LAST")
        # The last token may lie beyond the sequence's memory: it is in a register of its own.
        tokens = self._made(length, 0, made - 1) + [last][: min(made, 1)]
        self.sequence = self.sequence[:length] + tokens
        mask = self.host.read("STALLED")
        spans = spans_of(result, self.config.engines)
        start = result.cycles - cycles
        return AcceleratorRun(
            tokens=tokens,
            error=ERRORS[status >> STATUS_ERROR_SHIFT & STATUS_ERROR_MASK],
            cycles=cycles,
            token_cycles=_token_cycles(spans, start, made),
            spans=spans,
            result=result,
            watchdog=bool(status & STATUS_WATCHDOG),
            stalled=[name for i, name in enumerate(self.config.engines) if mask >> i & 1],
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
