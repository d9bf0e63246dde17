"""How full the accelerator's FIFOs get: a run with a probe on each, beside the depths it has and those that are proven.

In: an `AcceleratorConfig` and the peaks of the `registers` that a run was to probe. Out: a row for each stream, for
tables and JSON. A FIFO that is full and below its bound costs cycles, or is what stands still. Words that are still
under way, from memory or in a pipeline, have their room but are not counted: such a FIFO may be too small without being
full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lutllm.errors import SimulationError
from lutllm.lowering.hardware.streams.depths import choose_depths
from lutllm.lowering.hardware.streams.fifos import fifos
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.machine.targets import MEMORY_LATENCY

_COLUMNS = ("stream", "from", "to", "bits", "words/cycle", "bound", "depth", "peak", "")


@dataclass(frozen=True)
class Occupancy:
    """A stream: words of `bits` from `producer` to `consumers` at `rate` a cycle at most; `bound`: the depth proven
    sufficient (None where none is chosen), `depth` what it has, `peak` how many words it held."""

    stream: str
    producer: str
    consumers: str
    bits: int
    rate: float
    bound: int | None
    depth: int
    peak: int

    @property
    def full(self) -> bool:
        return self.peak >= self.depth

    @property
    def short(self) -> bool:
        """Not as deep as it must be to keep the rate."""
        return self.bound is not None and self.depth < self.bound

    @property
    def stalls(self) -> bool:
        return self.full and self.short

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"full": self.full, "short": self.short}


def registers(config: AcceleratorConfig) -> tuple[str, ...]:
    """The registers to probe: `Accelerator(..., probes=registers(config))`."""
    return tuple(register for f in fifos(config, MEMORY_LATENCY) for register in f.registers)


def occupancies(config: AcceleratorConfig, peaks: Mapping[str, int], latency: int = MEMORY_LATENCY) -> list[Occupancy]:
    """A row for each stream, from the peaks of its registers (`run.result.peaks`). Raises `SimulationError` where a
    FIFO held more than it can."""
    streams = fifos(config, latency)
    bounds, rows = choose_depths(streams), []
    for f in streams:
        peak = max(peaks[register] for register in f.registers)
        if peak > f.depth:
            raise SimulationError(f"stream {f.name}: expected at most {f.depth} words in its FIFO, got {peak}")
        consumers = ", ".join(f.consumers)
        rows.append(Occupancy(f.name, f.producer, consumers, f.bits, float(f.rate), bounds.get(f.name), f.depth, peak))
    return rows


def table(rows: Sequence[Occupancy]) -> str:
    """The rows as text."""
    lines = [_COLUMNS]
    for r in rows:
        bound = "-" if r.bound is None else str(r.bound)
        note = "stalls: too small, and full" if r.stalls else "too small" if r.short else ""
        cells = (r.producer, r.consumers, str(r.bits), f"{r.rate:.2f}", bound, str(r.depth), str(r.peak), note)
        lines.append((r.stream, *cells))
    widths = [max(len(line[i]) for line in lines) for i in range(len(_COLUMNS))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)
