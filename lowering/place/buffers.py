"""On-chip buffers from liveness: clusters with layouts in, a place in its memory for each result out.

A result lives from the cluster that makes it to the last one that takes it. What a cluster still reads while it writes
must lie elsewhere. The residual stream is one buffer that sums change in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from lutllm.bindings import ir
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.place.clusters import Cluster, consumers, memory_of
from lutllm.lowering.place.layouts import Layout

Fail = Callable[[Cluster, str], NoReturn]


@dataclass(frozen=True)
class Buffer:
    """Words of an on-chip memory, as `lut.buffer` says them."""

    memory: str
    base: int
    words: int
    size: int

    @property
    def end(self) -> int:
        return self.base + self.size

    @property
    def name(self) -> str:
        """The same for the same words."""
        return f"{self.memory}{self.base}_{self.words}"


def words_of(memory: str, layout: Layout, config: AcceleratorConfig) -> int:
    """Words of one token; in memory q of one token's heads."""
    return layout.size // (config.head_lanes if memory == "q" else config.lanes)


def buffers_of(
    clusters: Sequence[Cluster], layouts: Sequence[Layout], config: AcceleratorConfig, fail: Fail
) -> list[Buffer | None]:
    """The buffer of each cluster's result."""
    number = {cluster.op.operation: i for i, cluster in enumerate(clusters)}
    last = [_last_use(cluster, number, len(clusters)) for cluster in clusters]
    found: list[Buffer | None] = []
    for i, (cluster, layout) in enumerate(zip(clusters, layouts, strict=True)):
        memory = memory_of(cluster)
        if memory is None:
            found.append(None)
            continue
        words = words_of(memory, layout, config)
        live = [b for k, b in enumerate(found) if b is not None and b.memory == memory and last[k] >= i]
        if memory == "r":
            _check_stream(clusters, last, i, fail)
            live = []
        found.append(Buffer(memory, _first_fit(live, room(memory, words, config)), words, words * config.tokens))
    return found


def _last_use(cluster: Cluster, number: dict[ir.Operation, int], end: int) -> int:
    uses = [number[c.op.operation] for c in consumers(cluster.result)]
    returned = any(use.owner.operation.name == "func.return" for use in cluster.result.uses)
    return end if returned else max(uses, default=number[cluster.op.operation])


def room(memory: str, words: int, config: AcceleratorConfig) -> int:
    """Words that must be free: engine feed reads whole groups of pairs."""
    whole = config.joined_words if memory == "x" else 1
    return -(-words // whole) * whole * config.tokens


def _first_fit(live: list[Buffer], room: int) -> int:
    base = 0
    for buffer in sorted(live, key=lambda b: b.base):
        if base + room <= buffer.base:
            break
        base = max(base, buffer.end)
    return base


def _check_stream(clusters: Sequence[Cluster], last: list[int], i: int, fail: Fail) -> None:
    """A new state of the residual stream takes the place of the one before, which nobody may need any more."""
    for k in range(i):
        if memory_of(clusters[k]) == "r" and last[k] > i:
            fail(
                clusters[i],
                f"expected one residual stream at a time, got another while that of {clusters[k].label} is still read; "
                "an accelerator holds one",
            )
