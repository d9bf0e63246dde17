"""`lut-order`: clusters in the order of the model in; in the order in which they are to be computed out.

Tasks are dispatched in order and one engine computes all linears, so linears come as soon as they can, and what waits
for their results after them. Of several, the one with the longest way to go beside that engine comes first: keys and
values, which pass through memory, before queries. A sum comes after all that read the residual stream it changes. An
input from outside is loaded while the one before is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from lutllm.bindings import ir
from lutllm.lowering.machine.form import read_machine
from lutllm.lowering.place.clusters import Cluster, clusters_of, consumers, memory_of
from lutllm.lowering.place.form import placed_functions
from lutllm.passes import Pass

AHEAD = 2  # inputs on chip at a time: the one in use and the next


@dataclass(frozen=True)
class LutOrder(Pass):
    """Order the clusters of every function: each after what it takes, those with the longest way to the next linear
    first, else as they stood."""

    name: ClassVar[str] = "lut-order"
    anchor: ClassVar[str | None] = "builtin.module"

    def run(self, op: ir.Operation) -> None:
        functions = placed_functions(op)
        latency = read_machine(op).latency
        for function in functions.values():
            _order(function, latency)


def _order(function: Any, latency: int) -> None:
    clusters = clusters_of(function)
    at = {cluster.op.operation: i for i, cluster in enumerate(clusters)}
    users = [[at[user.op.operation] for user in consumers(cluster.result)] for cluster in clusters]

    @cache
    def tail(i: int) -> int:
        """Steps from the end of a cluster to the next linear, or to the end."""
        return max((_delay(clusters[u], latency) + tail(u) for u in users[i] if clusters[u].linear is None), default=0)

    def urgency(i: int) -> tuple[bool, int, bool, bool, int]:
        """The least comes first. What swiglu takes of stream p would be in the way of heads that are ready, attention
        keeps norms from memory x, and a linear that waits for attention others."""
        cluster, way = clusters[i], _delay(clusters[i], latency) + tail(i)
        later = cluster.linear is None or cluster.last in ("swiglu", "residual")
        return later, -way, cluster.last == "attention", cluster.last == "residual", i

    in_r = [memory_of(cluster) == "r" for cluster in clusters]
    # A new state of the residual stream takes the place of the one before: who else reads that comes first.
    first: list[set[int]] = [set() for _ in clusters]
    for i, found in enumerate(users):
        for user in found:
            if in_r[i] and in_r[user]:
                first[user] |= {*found} - {user}
    left = set(range(len(clusters)))
    missing = [0] * len(clusters)
    for found in users:
        for user in found:
            missing[user] += 1
    ready = [i for i, count in enumerate(missing) if count == 0]
    end = list(function.entry_block.operations)[-1].operation
    waiting: set[int] = set()  # loaded, and not used yet
    while ready:
        loads = [i for i in ready if clusters[i].last == "load"]
        others = [i for i in ready if clusters[i].last != "load"]
        others = [i for i in others if not first[i] & left] or others
        if loads and (len(waiting) < AHEAD or not others):
            best = loads[0]
            waiting.add(best)
        else:
            best = min(others, key=urgency)
            waiting -= {i for i in waiting if best in users[i]}
        ready.remove(best)
        left.remove(best)
        clusters[best].op.operation.move_before(end)
        for user in users[best]:
            missing[user] -= 1
            if missing[user] == 0:
                ready.append(user)


def _delay(cluster: Cluster, latency: int) -> int:
    """Steps of a cluster beside LutLinear, roughly: its pipeline, and memory where rows go there and come back."""
    return 0 if cluster.linear is not None else 1 + (latency if cluster.cache is not None else 0)
