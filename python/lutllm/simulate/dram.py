"""Memory as a target describes it, for the test bench: channels that masters share, each busy with one burst at a time.

In: a target's tables, the clock of the ports. Out: what `lutllm.simulate.native` works on. docs/memory.md says what is
modelled, where the numbers come from and what is assumed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lutllm.lowering.machine.targets import Dram, Memory, Target
from lutllm.simulate import native as n

_OWN = re.compile(r"(?:^|_)([wkv])(\d+)$")  # masters that have a port of memory each: of weights; of keys and values


@dataclass(frozen=True)
class MemoryModel:
    """`dram` behind ports at `mhz`."""

    dram: Dram
    memory: Memory
    mhz: float

    @classmethod
    def of(cls, target: Target) -> MemoryModel:
        return cls(target.dram, target.memory, target.clock.memory_mhz)

    def tables(self, found: Sequence[tuple[str, int]], ports: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Parameters and channels; writes the rate and the channel of each port of the bench's table."""
        own = {name: (int(match[2]), match[1]) for name, _ in found if (match := _OWN.search(name))}
        weights = sorted((name for name in own if own[name][1] == "w"), key=own.__getitem__)
        rows = sorted(own.keys() - set(weights), key=own.__getitem__)
        for (name, _), row in zip(found, ports, strict=True):
            row[n.CHANNEL] = n.NOWHERE
            if name in own:
                alike = weights if name in weights else rows
                row[n.CHANNEL] = alike.index(name) * self.dram.channels // len(alike)
            row[n.LAST_ROW] = -2
            beat = Fraction(self.memory.port_gb_per_s * 1000 / self.mhz).limit_denominator(1000)  # bytes a cycle
            rate = min(Fraction(int(row[n.BYTES])), beat)
            row[n.RATE], row[n.COST] = rate.numerator, row[n.BYTES] * rate.denominator
            row[n.CREDIT] = row[n.COST]
        return self._parameters(), self._channels()

    def _parameters(self) -> np.ndarray:
        dram, found = self.dram, np.zeros(n.DRAM_FIELDS, np.int64)
        # What refresh leaves is used so far that, in the long run, at most `share` of everything is.
        share = self.memory.share / (1 - dram.refresh_ns / dram.refresh_every_ns)
        channel = self.memory.gb_per_s / dram.channels * share  # bytes a ns
        times = {
            n.BYTES_COST: n.COST_BYTES / channel, n.BURST_COST: dram.burst_ns, n.TURN_COST: dram.turn_ns,
            n.REFRESH_COST: dram.refresh_ns, n.REFRESH_EVERY: dram.refresh_every_ns, n.FIRST_BEAT: dram.first_ns,
            n.OPENING: dram.opening_ns, n.SPREAD: dram.spread_ns, n.NOC: dram.noc_ns,
        }  # fmt: skip
        for field, ns in times.items():
            found[field] = -(-ns * self.mhz * n.PARTS // 1000)
        found[n.ROW_SIZE] = dram.row_bytes
        return found

    def _channels(self) -> np.ndarray:
        """At rest, their refreshes spread."""
        channels = np.full((self.dram.channels, n.OPEN + n.BANKS), -2, np.int64)
        every = int(self._parameters()[n.REFRESH_EVERY])
        channels[:, n.FREE], channels[:, n.WAY] = 0, n.READ
        channels[:, n.REFRESH] = [every * (i + 1) // self.dram.channels for i in range(self.dram.channels)]
        return channels
