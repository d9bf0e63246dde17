"""AXI4 masters of a design: found by their port names, timed as asked, reported with their traffic.

In: a `Layout` and an `AxiTiming` for each port. Out: the table rows `lutllm.simulate.native` works on, and
`PortTraffic` read back from them. A read master named `w0` has w0_arvalid, w0_araddr, ..., w0_rready; a write master
has `_aw`, `_w` and `_b` signals. arsize, arburst, rresp, wstrb and bresp may be absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np

from lutllm.errors import SimulationError
from lutllm.lowering.export.hw_to_arc import Layout
from lutllm.lowering.machine.targets import MEMORY_LATENCY
from lutllm.simulate import native as n

MOST_LATENCY = 1 << 30


@dataclass(frozen=True)
class AxiTiming:
    """How memory behaves at one port; cycles are of the design's clock, also where its AXI4 masters have another.

    `latency`: cycles from an accepted address to its first beat (or from the last write beat to its response), at
    least 1. `bytes_per_cycle`: sustained bandwidth; None means one beat a cycle of the port. `outstanding`: bursts in
    flight. `max_beats`: longest burst accepted. `stall_*`: chance in 256 that a channel pauses in a cycle.
    """

    latency: int = MEMORY_LATENCY
    bytes_per_cycle: Fraction | int | None = None
    outstanding: int = 32
    max_beats: int = 256
    stall_address: int = 0
    stall_data: int = 0
    stall_response: int = 0

    def __post_init__(self) -> None:
        rate = self.bytes_per_cycle
        if not 1 <= self.latency <= MOST_LATENCY:
            raise SimulationError(f"expected a latency of 1..{MOST_LATENCY} cycles, got {self.latency}")
        if self.outstanding < 1 or (rate is not None and rate <= 0):
            raise SimulationError(f"expected outstanding and bytes_per_cycle above 0, got {self}")
        if not all(0 <= stall < 256 for stall in (self.stall_address, self.stall_data, self.stall_response)):
            raise SimulationError(f"expected stalls in 0..255, got {self}")


@dataclass(frozen=True)
class PortTraffic:
    """What moved through one port. `busy`: cycles with a burst in flight; `blocked`: cycles one side held data that
    the other did not take (reads: the design's; writes: the memory's doing)."""

    name: str
    kind: str
    width_bytes: int
    bursts: int
    beats: int
    busy: int
    blocked: int

    @property
    def bytes(self) -> int:
        return self.beats * self.width_bytes


def find_ports(layout: Layout) -> list[tuple[str, int]]:
    """(name, READ or WRITE) of every AXI4 master, in port order; the name is empty where signals have no prefix."""
    found = []
    for port in layout.ports:
        for suffix, kind in (("arvalid", n.READ), ("awvalid", n.WRITE)):
            of_master = port.direction == "out"  # a slave's goes in
            if of_master and (port.name == suffix or port.name.endswith(f"_{suffix}")):
                found.append((port.name.removesuffix(suffix).removesuffix("_"), kind))
    return found


def port_table(
    layout: Layout, timing: AxiTiming | Mapping[str, AxiTiming], clock: Fraction
) -> tuple[np.ndarray, np.ndarray]:
    """Rows for every master and their empty burst queues. A mapping names ports; the others get the default. Masters
    have `clock` cycles in one of the design's clock."""
    found = find_ports(layout)
    if isinstance(timing, Mapping):
        unknown = set(timing) - {name for name, _ in found}
        if unknown:
            raise SimulationError(f"expected timing of {[name for name, _ in found]}, got {sorted(unknown)}")
        timings = [timing.get(name, AxiTiming()) for name, _ in found]
    else:
        timings = [timing] * len(found)
    rows = [_row(layout, name, kind, t, clock) for (name, kind), t in zip(found, timings, strict=True)]
    depth = max((t.outstanding for t in timings), default=1)
    table = np.array(rows, np.int64).reshape(len(rows), n.PORT_FIELDS)
    return table, np.zeros((len(rows), depth, n.QUEUE_FIELDS), np.int64)


def _row(layout: Layout, name: str, kind: int, timing: AxiTiming, clock: Fraction) -> np.ndarray:
    address, data = ("ar", "r") if kind == n.READ else ("aw", "w")
    prefix = f"{name}_" if name else ""

    def offset(signal: str, *, optional: bool = False) -> int:
        if optional and not layout.has_port(f"{prefix}{signal}"):
            return -1
        return layout.port(f"{prefix}{signal}").offset

    row = np.zeros(n.PORT_FIELDS, np.int64)
    width = layout.port(f"{prefix}{data}data").bytes
    rate = Fraction(width) if timing.bytes_per_cycle is None else timing.bytes_per_cycle / clock
    row[n.KIND], row[n.BYTES], row[n.MAX_BEATS] = kind, width, timing.max_beats
    row[n.LATENCY] = ceil(timing.latency * clock)
    row[n.RATE], row[n.COST] = rate.numerator, width * rate.denominator
    row[n.CREDIT], row[n.DEPTH] = row[n.COST], timing.outstanding
    row[n.STALL_A], row[n.STALL_D], row[n.STALL_B] = timing.stall_address, timing.stall_data, timing.stall_response
    row[n.A_VALID], row[n.A_READY] = offset(f"{address}valid"), offset(f"{address}ready")
    row[n.A_ADDRESS], row[n.A_LENGTH] = offset(f"{address}addr"), offset(f"{address}len")
    row[n.A_LENGTH_BYTES] = layout.port(f"{prefix}{address}len").bytes
    row[n.A_SIZE], row[n.A_BURST] = offset(f"{address}size", optional=True), offset(f"{address}burst", optional=True)
    row[n.D_VALID], row[n.D_READY] = offset(f"{data}valid"), offset(f"{data}ready")
    row[n.D_DATA], row[n.D_LAST] = offset(f"{data}data"), offset(f"{data}last")
    row[n.D_EXTRA] = offset("rresp" if kind == n.READ else "wstrb", optional=True)
    if kind == n.WRITE:
        row[n.B_VALID], row[n.B_READY] = offset("bvalid"), offset("bready")
        row[n.B_RESPONSE] = offset("bresp", optional=True)
    return row


def traffic(layout: Layout, table: np.ndarray) -> dict[str, PortTraffic]:
    report = {}
    for (name, kind), row in zip(find_ports(layout), table, strict=True):
        counts = (int(row[f]) for f in (n.BURSTS, n.BEATS, n.BUSY, n.BLOCKED))
        report[name] = PortTraffic(name, "read" if kind == n.READ else "write", int(row[n.BYTES]), *counts)
    return report


def stalled_channels(layout: Layout, table: np.ndarray, state: np.ndarray) -> list[str]:
    """Where every AXI channel that is not idle stands, in words."""
    lines = []
    for (name, kind), row in zip(find_ports(layout), table, strict=True):
        letter = "ar" if kind == n.READ else "aw"
        if state[row[n.A_VALID]] & 1:
            lines.append(f"{name}: {letter}valid waits for {letter}ready")
        if row[n.COUNT] == 0 and not (kind == n.WRITE and state[row[n.D_VALID]] & 1):
            continue
        flight = f"{int(row[n.COUNT])} bursts in flight"
        if kind == n.READ:
            waits = "rvalid waits for rready" if row[n.D_HELD] else "memory has no beat yet"
        elif row[n.B_HELD]:
            waits = "bvalid waits for bready"
        elif state[row[n.D_VALID]] & 1:
            waits = "wvalid waits for wready"
        else:
            waits = "memory waits for wvalid" if row[n.COUNT] > row[n.FILLED] else "response under way"
        lines.append(f"{name}: {waits} ({flight})")
    return lines
