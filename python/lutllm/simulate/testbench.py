"""Runs a design against a memory and streams, in native code, and says what happened.

In: a `Simulator`, a `Memory`, stimulus and timing. Out: a `RunResult`: why it stopped, cycles, traffic, the cycle of
every write, peaks of probed registers, a waveform window. The same call drives every simulator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from lutllm.errors import SimulationError
from lutllm.simulate import native as n
from lutllm.simulate import stream as streams
from lutllm.simulate.axi_port import AxiTiming, PortTraffic, find_ports, port_table, stalled_channels, traffic
from lutllm.simulate.dram import MemoryModel
from lutllm.simulate.simulator import Simulator
from lutllm.simulate.waveform import Trace, TraceWindow

_LOG = 4096  # events between two looks at the log
Listener = Callable[[int, int], bool]

DONE, CYCLE_LIMIT, WATCHDOG = "done", "the cycle limit", "watchdog"
_REASONS = {
    n.RUNNING: CYCLE_LIMIT,
    n.STOP_DONE: DONE,
    n.STOP_STREAMS: "all words moved",
    n.STOP_WATCHDOG: WATCHDOG,
    n.BAD_ADDRESS: "burst outside the memory",
    n.MISALIGNED: "burst not aligned to the port width",
    n.CROSSES_4K: "burst crosses a 4 KB boundary",
    n.BAD_LENGTH: "burst longer than the port takes",
    n.BAD_BURST: "burst type or size other than INCR at port width",
    n.BAD_LAST: "wlast not on the last beat, or missing there",
    n.VALID_DROPPED: "valid taken back before ready",
    n.ADDRESS_CHANGED: "address changed while it waited for ready",
}


class Memory:
    """A flat byte memory at addresses `base`..`base + size - 1`, shared by every AXI port."""

    def __init__(self, size: int | np.ndarray, base: int = 0) -> None:
        self.data = np.zeros(size, np.uint8) if isinstance(size, int) else np.ascontiguousarray(size, np.uint8)
        self.base = base

    def write(self, address: int, values: np.ndarray) -> None:
        raw = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
        self.data[self._range(address, raw.size)] = raw

    def read(self, address: int, size: int) -> np.ndarray:
        return self.data[self._range(address, size)].copy()

    def _range(self, address: int, size: int) -> slice:
        start = address - self.base
        if start < 0 or start + size > self.data.size:
            end = self.base + self.data.size
            raise SimulationError(f"expected addresses {self.base:#x}..{end:#x}, got {size} bytes at {address:#x}")
        return slice(start, start + size)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Where a bench stood: a copy of everything that a run changes."""

    arrays: tuple[np.ndarray, ...]
    events: tuple[np.ndarray, ...]


@dataclass
class RunResult:
    """How a run ended. `ok`: it reached done (or moved all words) and the design reports no error. `events`: int64
    [n, 2], cycle and value of the event port wherever it was not 0."""

    stop: str
    ok: bool
    message: str
    cycles: int
    error: int
    ports: dict[str, PortTraffic]
    seconds: float
    peaks: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, np.ndarray | dict[str, np.ndarray]] = field(default_factory=dict)
    stream_cycles: dict[str, np.ndarray] = field(default_factory=dict)
    trace: Trace | None = None
    events: np.ndarray | None = None
    _write_cycles: Callable[[int], int | None] = field(default=lambda address: None, repr=False)

    @property
    def cycles_per_second(self) -> float:
        return self.cycles / max(self.seconds, 1e-9)

    def write_cycle(self, address: int) -> int | None:
        """The cycle in which the beat holding `address` was last written, or None."""
        return self._write_cycles(address)

    def check(self) -> RunResult:
        """Return self, or raise `SimulationError` with what went wrong."""
        if not self.ok:
            raise SimulationError(self.message)
        return self


class TestBench:
    """One design on one bench. `reset` it, `run` it; running may be continued.

    `timing`: for all AXI ports, or by name. `fault`: addresses (low, high) that answer with SLVERR. `probes`: registers
    whose peak value is wanted. `trace`: (first cycle, cycles) to record. `constants`: inputs held at a value. `until`:
    the output that ends a run when high; with streams, all words have moved too, and both hold for a while. `events`:
    an output to log. `dram`: memory as it models it, instead of the latency and the rate of `timing`. `periods` of the
    clocks of a design whose AXI4 masters have one of their own: of the other one, then of theirs, whose first edge is
    `phase` after the other's. All cycles are of the other clock.
    """

    __test__ = False  # not a pytest class

    def __init__(
        self,
        simulator: Simulator,
        *,
        memory: Memory | None = None,
        timing: AxiTiming | Mapping[str, AxiTiming] | None = None,
        inputs: Mapping[str, streams.Words] | None = None,
        outputs: Mapping[str, int] | None = None,
        stalls: int | Mapping[str, int] = 0,
        seed: int = 1,
        watchdog: int = 20000,
        fault: tuple[int, int] | None = None,
        probes: Sequence[str] = (),
        trace: tuple[int, int] | None = None,
        constants: Mapping[str, int] | None = None,
        until: str | None = None,
        events: str | None = None,
        dram: MemoryModel | None = None,
        periods: tuple[int, int] | None = None,
        phase: int = 0,
    ) -> None:
        if (periods is not None) != (len(simulator.clock_ports) > 1):
            clocks = ", ".join(simulator.clock_ports)
            raise SimulationError(f"expected periods of two clocks where there are two, got {periods} for {clocks}")
        self._periods, self._phase, self._model = periods, phase, dram
        self.simulator, self.layout = simulator, simulator.layout
        self.memory = Memory(0) if memory is None else memory
        self.constants = dict(constants or {})
        self._timing = AxiTiming() if timing is None else timing
        self._streams = streams.build_tables(self.layout, inputs or {}, outputs or {}, stalls)
        self._streaming = bool(inputs or outputs)
        self._until = until
        self._seed, self._watchdog, self._fault = seed, watchdog, fault or (0, 0)
        self._probe_names = tuple(probes)
        self._window = TraceWindow(self.layout, *(trace or (0, 0)))
        self._event_port = None if events is None else self.layout.port(events)
        self.seconds = 0.0
        self._clear()
        self._run_native(0)  # compiles the loop, so that `seconds` measures running alone
        self.seconds = 0.0

    def _clear(self) -> None:
        clock = Fraction(*self._periods) if self._periods else Fraction(1)
        self._ports, self._queues = port_table(self.layout, self._timing, clock)
        self._dram, self._channels = np.zeros(0, np.int64), np.zeros((0, 0), np.int64)
        if self._model is not None:
            self._dram, self._channels = self._model.tables(find_ports(self.layout), self._ports)
        widths = self._ports[self._ports[:, n.KIND] == n.WRITE, n.BYTES]
        granule = int(widths.min()) if widths.size else 1
        self._stamps = np.zeros(self.memory.data.size // granule if widths.size else 0, np.int64)
        places = [self.layout.state(name) for name in self._probe_names]
        self._probes = np.array([(p.offset, min(p.bytes, 7), 0) for p in places], np.int64).reshape(len(places), 3)
        self._rng = np.array([(self._seed * 0x9E3779B97F4A7C15 + 0x1234567) % (1 << 64) or 1], np.uint64)
        control = np.zeros(n.CONTROL_FIELDS, np.int64)
        control[n.BASE], control[n.SIZE] = self.memory.base, self.memory.data.size
        control[n.WATCHDOG], control[n.GRANULE] = self._watchdog, granule
        core, *bus = (self.layout.port(name).offset for name in self.simulator.clock_ports)
        control[n.CLK], control[n.BUS_CLK] = core, bus[0] if bus else -1
        control[[n.PERIOD, n.BUS_PERIOD]], control[n.BUS_NEXT] = self._periods or (1, 1), self._phase
        control[n.DONE] = self.layout.port(self._until).offset if self._until else -1
        control[n.DRAIN] = 16 if self._streaming else -1
        control[n.FAULT_LOW], control[n.FAULT_HIGH] = self._fault
        control[n.TRACE_FIRST], control[n.TRACE_ROWS] = self._window.first, self._window.cycles
        control[n.EVENTS] = -1
        if self._event_port is not None:
            control[n.EVENTS], control[n.EVENT_BYTES] = self._event_port.offset, self._event_port.bytes
        self._log = np.zeros((_LOG if self._event_port else 1, 2), np.int64)
        self._events: list[np.ndarray] = []
        self._control = control

    def reset(self, cycles: int = 4, *, memory: bool = True) -> None:
        """Reset the design and everything the bench had in flight. Memory keeps its contents; without `memory`, also
        what it was asked for, and goes on answering."""
        if not memory:
            name, active = self.simulator.reset_port
            self.simulator.poke(name, active)
            if self._periods is not None:  # it is some cycles until a reset comes through
                self._control[n.FORGIVEN] = self._control[n.CYCLE] + cycles + 16
            self._ports[:, n.A_HELD] = 0  # a reset may take a request back
            self._ports[self._ports[:, n.KIND] == n.WRITE, n.D_HELD] = 0
            self.step(cycles)
            self.simulator.poke(name, 1 - active)
            return
        self._clear()
        for row in self._streams.table:
            row[[n.POSITION, n.S_HELD, n.S_BLOCKED]] = 0
        self.simulator.reset(cycles)
        for name, value in self.constants.items():
            self.simulator.poke(name, value)

    def step(self, cycles: int = 1) -> None:
        """Run `cycles` cycles without looking for the end."""
        self._resume()
        done, self._control[n.DONE] = int(self._control[n.DONE]), -1
        self._run_native(cycles)
        self._control[n.DONE] = done

    def run(self, max_cycles: int = 10_000_000, *, listener: Listener | None = None) -> RunResult:
        """Run until done, until all words moved, until something is wrong, or for `max_cycles`.

        `listener` is given cycle and value of each event, the design standing still right after that cycle; the run
        ends when it returns False.
        """
        self._resume()
        chunk, left = 256, max_cycles  # until Ctrl-C is seen
        while left > 0 and self._control[n.CODE] == n.RUNNING:
            before, first, seen = time.perf_counter(), int(self._control[n.CYCLE]), len(self._events)
            self._run_native(min(chunk, left), _LOG if listener is None else 1)
            left -= max(1, int(self._control[n.CYCLE]) - first)
            if time.perf_counter() - before < 0.1:
                chunk *= 2
            if listener is not None and len(self._events) > seen and not listener(*map(int, self._events[-1][0])):
                break
        return self._result()

    def checkpoint(self) -> Checkpoint:
        """A place to come back to. Only of simulators that keep nothing outside of `state`."""
        return Checkpoint(tuple(array.copy() for array in self._changing()), tuple(self._events))

    def restore(self, checkpoint: Checkpoint) -> None:
        for array, kept in zip(self._changing(), checkpoint.arrays, strict=True):
            array[...] = kept
        self._events = list(checkpoint.events)

    def _changing(self) -> tuple[np.ndarray, ...]:
        t = self._streams
        return (
            self.simulator.state, self.memory.data, self._control, self._rng, self._channels, self._ports, self._queues,
            t.table, t.rows, t.row_cycles, self._stamps, self._probes,
        )  # fmt: skip

    def record(self, first: int, cycles: int) -> None:
        """Record another window from now on."""
        self._window = TraceWindow(self.layout, first, cycles)
        self._control[n.TRACE_FIRST], self._control[n.TRACE_ROWS] = first, cycles

    @property
    def cycle(self) -> int:
        """Cycles since the reset."""
        return int(self._control[n.CYCLE])

    def _resume(self) -> None:
        """A run that reached its end, or stands still, may go on; one that broke a rule stays so until `reset`."""
        if self._control[n.CODE] in (n.STOP_DONE, n.STOP_STREAMS, n.STOP_WATCHDOG):
            self._control[n.CODE], self._control[n.IDLE] = n.RUNNING, 0

    def _run_native(self, cycles: int, room: int = _LOG) -> None:
        before = time.perf_counter()
        t = self._streams
        n.run_cycles(
            self.simulator.address, self.simulator.state, self.memory.data, self._control, self._rng, self._dram,
            self._channels, self._ports, self._queues, t.table, t.fields, t.rows, t.row_cycles, self._stamps,
            self._probes, self._window.spans, self._window.rows, self._log[:room], cycles,
        )  # fmt: skip
        if self._control[n.LOGGED]:
            self._events.append(self._log[: self._control[n.LOGGED]].copy())
            self._control[n.LOGGED] = 0
        self.seconds += time.perf_counter() - before

    def _result(self) -> RunResult:
        code = int(self._control[n.CODE])
        error = self.simulator.peek("error") if self.layout.has_port("error") else 0
        cycle = int(self._control[n.CYCLE])
        outputs = [s.name for s in self._streams.streams if s.kind == n.OUTPUT]
        surplus = self._surplus()
        ok = code in (n.STOP_DONE, n.STOP_STREAMS) and error == 0 and not surplus
        return RunResult(
            stop=_REASONS[code], ok=ok, message=self._message(code, error, cycle, surplus), cycles=cycle, error=error,
            ports=traffic(self.layout, self._ports), seconds=self.seconds,
            peaks={name: int(row[2]) for name, row in zip(self._probe_names, self._probes, strict=True)},
            outputs={name: streams.unpack(self._streams, name) for name in outputs},
            stream_cycles={s.name: streams.cycles(self._streams, s.name) for s in self._streams.streams},
            trace=self._window.recorded(cycle), _write_cycles=self._write_cycle,
            events=np.concatenate([np.zeros((0, 2), np.int64), *self._events]) if self._event_port else None,
        )  # fmt: skip

    def _write_cycle(self, address: int) -> int | None:
        index = (address - self.memory.base) // int(self._control[n.GRANULE])
        stamp = int(self._stamps[index]) if 0 <= index < self._stamps.size else 0
        return stamp - 1 if stamp else None

    def _surplus(self) -> list[str]:
        rows = zip(self._streams.table, self._streams.streams, strict=True)
        return [f"{s.name} gave {int(row[n.POSITION] - s.words)} more" for row, s in rows if row[n.POSITION] > s.words]

    def _message(self, code: int, error: int, cycle: int, surplus: list[str]) -> str:
        text = f"{self.layout.top}: stopped at cycle {cycle}: {_REASONS[code]}"
        if code in (n.STOP_WATCHDOG, n.RUNNING):
            state = self.simulator.state
            stalled = stalled_channels(self.layout, self._ports, state)
            stalled += streams.stalled_streams(self._streams, state)
            text += f"; nothing moved for {int(self._control[n.IDLE])} cycles; stalled: "
            text += "; ".join(stalled) or "no channel has anything in flight"
        elif code >= n.BAD_ADDRESS:
            index = int(self._control[n.CODE_PORT])
            if index >= 0:
                name = find_ports(self.layout)[index][0]
                text += f", port {name}, address {int(self._control[n.CODE_ADDRESS]):#x}"
            else:
                text += f", stream {self._streams.streams[-1 - index].name}, word {int(self._control[n.CODE_ADDRESS])}"
        if error:
            text += f"; the design reports error code {error}"
        if surplus:
            text += f"; expected no more words, but {', '.join(surplus)}"
        return text


def run_streams(
    simulator: Simulator, inputs: Mapping[str, streams.Words], outputs: Mapping[str, int], *,
    max_cycles: int = 1_000_000, **options: object,
) -> RunResult:  # fmt: skip
    """Reset, feed the input streams, collect `outputs[name]` words of each output stream. Options: `TestBench`."""
    bench = TestBench(simulator, inputs=inputs, outputs=outputs, **options)  # type: ignore[arg-type]
    bench.reset()
    return bench.run(max_cycles)
