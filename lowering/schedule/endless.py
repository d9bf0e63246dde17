"""Dispatches that would wait for ever: the tasks of a program in order of dispatch in, the first that hangs out.

A task is done once it and all that it needs are dispatched: what is before it at its engine, in stream p and among
those that take stream y, and who is at the other end of its own streams. It is dispatched once what it waits for is
done, and its engine has room: once the task is done that `QUEUE` others of the engine (`ROUNDS_AHEAD`
rounds of LutLinear) have come after.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from lutllm.lowering.machine.engine import QUEUE, ROUNDS_AHEAD
from lutllm.lowering.schedule.data import Task, stream_of


def endless(tasks: Sequence[Task]) -> Iterator[tuple[Task, str]]:
    whole = _whole(tasks)
    of_engine: dict[str, list[int]] = defaultdict(list)
    for i, task in enumerate(tasks):
        found = [of_engine[engine][: max(0, len(of_engine[engine]) - pending)][-1:] for engine, pending in task.waits]
        room = ROUNDS_AHEAD if task.engine == "linear" else QUEUE
        found.append(of_engine[task.engine][:-room][-1:])
        for waited in (k for numbers in found for k in numbers):
            if whole[waited] >= i:
                message = (
                    f"expected {tasks[whole[waited]].name} before it, without which "
                    f"{tasks[waited].name}, which it waits for, has no end, got it later; dispatch it first"
                )
                yield task, message
                return
        of_engine[task.engine].append(i)


def _whole(tasks: Sequence[Task]) -> list[int]:
    """For each task the last one that must be dispatched for it to end."""
    needs: list[list[int]] = [[] for _ in tasks]
    last: dict[str, int] = {}
    # The tasks at the ends of streams, by how many came before.
    ends: dict[tuple[str, int], list[int]] = defaultdict(list)
    count: dict[str, int] = defaultdict(int)
    for i, task in enumerate(tasks):
        stream = stream_of(task) or ""
        takes_y = stream == "y" and task.engine not in ("linear", "feed")
        for line in (task.engine, "stream p" if task.parameters else "", "stream y" if takes_y else ""):
            needs[i] += [last[line]] if line in last else []
            if line:
                last[line] = i
        if stream:
            role = "sink" if takes_y else f"{task.engine} {stream}"
            ends[stream, count[role]].append(i)
            count[role] += 1
    for group in ends.values():
        for i in group:
            needs[i] += group
    whole = list(range(len(tasks)))
    changed = True
    while changed:
        changed = False
        for i, others in enumerate(needs):
            most = max((whole[k] for k in others), default=i)
            if most > whole[i]:
                whole[i], changed = most, True
    return whole
