"""A window of cycles recorded by the test bench, written as VCD.

In: a `Layout` and a window. Out: `Trace`, which reads values by name and cycle and writes a VCD file with the top's
ports and every register under its hierarchical name. Memories are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from vcd import VCDWriter

from lutllm.errors import SimulationError
from lutllm.lowering.export.hw_to_arc import Layout, Port, State


class TraceWindow:
    """What to copy from the state each cycle: `spans` (offset, bytes), one row of `rows` per cycle."""

    def __init__(self, layout: Layout, first: int, cycles: int) -> None:
        self.first, self.cycles = first, cycles
        self.places: tuple[Port | State, ...] = ()
        if cycles:
            self.places = (*layout.ports, *(state for state in layout.states if not state.depth))
        self.spans = np.array([(p.offset, p.bytes) for p in self.places], np.int64).reshape(len(self.places), 2)
        self.rows = np.zeros((cycles, int(self.spans[:, 1].sum())), np.uint8)
        self.top = layout.top

    def recorded(self, cycle: int) -> Trace | None:
        """What was seen, when the run is at `cycle`."""
        seen = min(max(cycle - self.first, 0), self.cycles)
        return Trace(self.top, self.first, self.places, self.rows[:seen].copy()) if self.cycles else None


@dataclass
class Trace:
    top: str
    first: int
    places: tuple[Port | State, ...]
    rows: np.ndarray

    def values(self, name: str) -> list[int]:
        """A port's or register's value in each recorded cycle."""
        column = 0
        for place in self.places:
            if place.name == name:
                mask = (1 << place.bits) - 1
                cells = self.rows[:, column : column + place.bytes]
                return [int.from_bytes(cell.tobytes(), "little") & mask for cell in cells]
            column += place.bytes
        raise SimulationError(f"expected a port or register of {self.top!r}, got {name!r}")

    def write_vcd(self, path: str | Path, texts: Mapping[str, Sequence[tuple[int, str]]] | None = None) -> None:
        """One time step per cycle, numbered as the test bench numbers them.

        `texts`: variables in scope `tasks` that say, from a cycle on, what goes on.
        """
        with open(path, "w") as file, VCDWriter(file, timescale="1 ns", init_timestamp=self.first, date="") as writer:
            wires, columns, column = [], [], 0
            for place in self.places:
                # A register of the top module may be called as a port is: registers stand a scope lower.
                inner = ["registers"] if isinstance(place, State) and "/" not in place.name else []
                scope = ".".join([self.top, *inner, *place.name.split("/")[:-1]])
                wires.append(writer.register_var(scope, place.name.split("/")[-1], "wire", size=place.bits))
                columns.append(slice(column, column + place.bytes))
                column += place.bytes
            said = _Texts(writer, self.top, self.first, texts or {})
            changed = np.ones((len(self.rows), column), bool)
            changed[1:] = self.rows[1:] != self.rows[:-1]
            moved = np.logical_or.reduceat(changed, [cells.start for cells in columns], axis=1)
            for index, place in np.argwhere(moved):
                if self.places[place].name in ("clk", "ap_clk"):
                    continue
                said.until(self.first + int(index))
                cell = self.rows[index, columns[place]].tobytes()
                value = int.from_bytes(cell, "little") & ((1 << self.places[place].bits) - 1)
                writer.change(wires[place], self.first + int(index), value)
            said.until(self.first + len(self.rows) - 1)


class _Texts:
    """String variables, which viewers show as text."""

    def __init__(self, writer: Any, top: str, first: int, texts: Mapping[str, Sequence[tuple[int, str]]]) -> None:
        self.writer = writer
        wires = {name: writer.register_var(f"{top}.tasks", name, "string", init="") for name in texts}
        self.left = [(max(cycle, first), wires[name], text) for name, said in texts.items() for cycle, text in said]
        self.left = sorted(self.left, key=lambda entry: entry[0])[::-1]

    def until(self, cycle: int) -> None:
        """Write what was said up to `cycle`."""
        while self.left and self.left[-1][0] <= cycle:
            when, wire, text = self.left.pop()
            self.writer.change(wire, when, text)
