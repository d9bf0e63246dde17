"""`reports/schedule.html`: when tasks ran, as one page that needs nothing else; and the same as JSON.

In: records of a run, simulated or predicted, and, where they are known, the beats each stream moved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

from lutllm.cost.layers import OTHER, layer_of
from lutllm.lowering.machine.accelerator import ENGINES
from lutllm.report.gantt import colors_of, gantt
from lutllm.report.page import Page, share, table
from lutllm.simulate.occupancy import Occupancy
from lutllm.simulate.transactions.passes import Pass
from lutllm.simulate.transactions.records import TaskRecord

SOURCES = {
    "simulated": "Cycles are from simulation, exact.",
    "predicted": "Cycles are predicted, for a memory that always answers after the same time: not a simulation.",
}


def schedule_page(
    title: str,
    records: Sequence[TaskRecord],
    *,
    how: str = "predicted",
    streams: Mapping[str, int] | None = None,
    occupancy: Sequence[Occupancy] = (),
) -> str:
    """The page. `how`: `simulated` or `predicted`. `streams`: beats moved in the whole run, by name; `occupancy`: how
    full the FIFOs were."""
    turns = _turns(records)
    colors = colors_of(records)
    cycles = _end(records) - _begin(records)
    found = Page(title)
    found.add(
        f"<p>{len(records):,} tasks in {cycles:,} cycles, {len(turns)} task lists. {SOURCES[how]}</p>",
        "<h2>Engines and streams</h2>",
        engine_table(records, cycles),
        stream_table(streams or {}, cycles),
    )
    seen: set[str] = set()
    for turn, mine in turns.items():
        program = mine[0].program
        if program not in seen:
            seen.add(program)
            found.add(*list_section(f"Program {program}, list {turn} of the run", mine, colors))
    found.add("<h2>Busy cycles by layer and engine</h2>", _layer_table(records))
    found.add("<h2>Task lists</h2>", _turn_table(turns), occupancy_table(occupancy))
    return str(found)


def schedule_json(
    records: Sequence[TaskRecord],
    *,
    how: str = "predicted",
    streams: Mapping[str, int] | None = None,
    passes: Sequence[Pass] = (),
) -> dict[str, Any]:
    """What the page says, as data; with `passes` what each list worked on, too."""
    by_layer = {name: _busy_by_engine(mine) for name, mine in _layers(records).items()}
    turns = [
        {"turn": turn, "program": mine[0].program, "start": _begin(mine), "end": _end(mine)}
        | ({"tokens": passes[turn].tokens, "position": passes[turn].position} if passes else {})
        for turn, mine in _turns(records).items()
    ]
    return {
        "how": how,
        "cycles": _end(records) - _begin(records),
        "engines": {e: {"tasks": n, "busy": _busy_by_engine(records)[e]} for e, n in _counts(records).items()},
        "streams": dict(streams or {}),
        "layers": by_layer,
        "lists": turns,
        "tasks": [record.to_dict() for record in records],
    }


def busy_cycles(records: Iterable[TaskRecord]) -> int:
    """Cycles in which at least one of the records runs."""
    total, reached = 0, -1
    for start, end in sorted((record.start, record.end) for record in records):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _begin(records: Sequence[TaskRecord]) -> int:
    return min((record.start for record in records), default=0)


def _end(records: Sequence[TaskRecord]) -> int:
    return max((record.end for record in records), default=0)


def _turns(records: Sequence[TaskRecord]) -> dict[int, list[TaskRecord]]:
    ordered = sorted(records, key=lambda record: record.turn)
    return {turn: list(mine) for turn, mine in groupby(ordered, lambda record: record.turn)}


def _counts(records: Sequence[TaskRecord]) -> dict[str, int]:
    """Tasks by engine, in the order of the hardware."""
    counts = {engine: sum(record.engine == engine for record in records) for engine in ENGINES}
    return {engine: count for engine, count in counts.items() if count}


def _busy_by_engine(records: Sequence[TaskRecord]) -> dict[str, int]:
    return {engine: busy_cycles(r for r in records if r.engine == engine) for engine in _counts(records)}


def _layers(records: Sequence[TaskRecord]) -> dict[str, list[TaskRecord]]:
    """Records by decoder layer, in order of appearance; what belongs to none comes last."""
    found: dict[str, list[TaskRecord]] = defaultdict(list)
    for record in records:
        found[layer_of(record.source)].append(record)
    rest = found.pop(OTHER, None)
    return found | ({OTHER: rest} if rest else {})


def list_section(title: str, records: Sequence[TaskRecord], colors: Mapping[str, str]) -> list[str]:
    """A list as a whole, then one layer large, the others folded away."""
    span = _begin(records), _end(records)
    layers = {name: mine for name, mine in _layers(records).items() if name != OTHER}
    bands = sorted(((name.rpartition(".")[2], _begin(mine)) for name, mine in layers.items()), key=lambda b: b[1])
    bands = [(f"layer {name}" if len(bands) <= 12 else name, begin) for name, begin in bands]
    parts = [f"<h2>{escape(title)}: {span[1] - span[0]:,} cycles</h2>", _legend(records, colors)]
    parts.append(gantt(records, colors, span=span, bands=bands))
    opened = list(layers)[len(layers) // 2] if layers else None  # the first one is not typical: nothing runs before it
    for name, mine in layers.items():
        inside = _begin(mine), _end(mine)
        near = [r for r in records if r.start < inside[1] and r.end > inside[0]]
        chart = gantt(near, colors, span=inside, shown=name)
        open_ = " open" if name == opened else ""
        summary = f"{escape(name)}: {inside[1] - inside[0]:,} cycles"
        parts.append(f"<details{open_}><summary>{summary}</summary>{chart}</details>")
    return parts


def _legend(records: Sequence[TaskRecord], colors: Mapping[str, str]) -> str:
    own = colors_of(records)
    keys = (f"<span class=key style='background:{colors[kind]}'></span>{escape(kind)}" for kind in own)
    return (
        "<p>A bar begins when its engine takes a task and ends when it is done; engines that share a stream wait for "
        f"each other inside their bars. Point at one for its module and cycles.<br>{''.join(keys)}</p>"
    )


def engine_table(records: Sequence[TaskRecord], cycles: int) -> str:
    busy, counts = _busy_by_engine(records), _counts(records)
    rows = [[engine, f"{counts[engine]:,}", f"{busy[engine]:,}", *share(busy[engine], cycles)] for engine in counts]
    return table(["engine", "tasks", "busy cycles", "of the run", ""], rows)


def stream_table(streams: Mapping[str, int], cycles: int) -> str:
    if not streams:
        return ""
    rows = [[f"stream {escape(name)}", f"{beats:,}", *share(beats, cycles)] for name, beats in streams.items()]
    return table(["stream", "beats", "of the run", ""], rows)


def occupancy_table(rows: Sequence[Occupancy]) -> str:
    if not rows:
        return ""
    head = ("FIFO", "from", "to", "bits", "bound", "depth", "peak", "")
    cells = [
        (r.stream, r.producer, r.consumers, str(r.bits), str(r.bound or "-"), str(r.depth), str(r.peak)) for r in rows
    ]
    shares = [share(r.peak, r.depth) for r in rows]
    body = [[*map(escape, cell), bar[-1]] for cell, bar in zip(cells, shares, strict=True)]
    return "<h2>FIFOs</h2>\n" + table(head, body)


def _layer_table(records: Sequence[TaskRecord]) -> str:
    engines = list(_counts(records))
    rows = []
    for name, mine in _layers(records).items():
        busy = _busy_by_engine(mine)
        cells = [f"{busy[engine]:,}" if engine in busy else "" for engine in engines]
        rows.append([escape(name), *cells, f"{busy_cycles(mine):,}"])
    return table(["layer", *engines, "any"], rows)


def _turn_table(turns: Mapping[int, Sequence[TaskRecord]]) -> str:
    rows = [
        [str(turn), mine[0].program, f"{_begin(mine):,}", f"{_end(mine):,}", f"{_end(mine) - _begin(mine):,}"]
        for turn, mine in turns.items()
    ]
    return table(["list", "program", "start", "end", "cycles"], rows)
