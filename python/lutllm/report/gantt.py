"""A Gantt chart of tasks as an SVG: records of one task list in; a lane for each engine, a bar for each task out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from lutllm.lowering.machine.accelerator import ENGINES
from lutllm.simulate.transactions.records import TaskRecord

WIDTH, LEFT, TOP, BAR, GAP = 1200, 84, 28, 16, 8  # pixels
COLORS = (  # light enough for dark letters
    "#8ab4e0", "#f9b26b", "#8fcf83", "#f28e8c", "#86d0cc", "#cda3d8", "#f0d860", "#c9a48c", "#ffb7c5", "#b3adaa",
    "#6fd0e3", "#cfd25a", "#a7a9f0", "#e0a8a0", "#7fc7a4", "#d9c7a0",
)  # fmt: skip
LETTER = 6.2  # pixels of a letter in a bar
TICKS = 10  # at most


def kind_of(record: TaskRecord) -> str:
    """What a task is a part of, for its color: the last name of its module."""
    return record.source.rpartition(".")[2] or record.task.rpartition(".")[2]


def colors_of(records: Sequence[TaskRecord]) -> dict[str, str]:
    """A color for each kind, in order of appearance: linear, feed and sink of one module have one."""
    kinds = dict.fromkeys(kind_of(record) for record in records)
    return {kind: COLORS[i % len(COLORS)] for i, kind in enumerate(kinds)}


@dataclass(frozen=True)
class Drawing:
    """An SVG, which a notebook shows."""

    svg: str

    def _repr_html_(self) -> str:
        return self.svg


def drawn(records: Sequence[TaskRecord]) -> Drawing:
    """All of the records."""
    span = min(record.start for record in records), max(record.end for record in records)
    return Drawing(gantt(records, colors_of(records), span=span))


def gantt(
    records: Sequence[TaskRecord],
    colors: Mapping[str, str],
    *,
    span: tuple[int, int],
    shown: str | None = None,
    bands: Sequence[tuple[str, int]] = (),
) -> str:
    """The chart of the cycles `span`; cycle 0 of the axis is its first. `shown`: bars of other modules than those whose
    name begins so are faded. `bands`: names of sections and the cycles they begin at."""
    lanes = [engine for engine in ENGINES if any(record.engine == engine for record in records)]
    rows = {engine: _rows([r for r in records if r.engine == engine]) for engine in lanes}
    first, parts, y = span[0], [], TOP
    scale = (WIDTH - LEFT) / max(1, span[1] - first)
    bodies = []
    for engine in lanes:
        height = BAR * max(len(rows[engine]), 1)
        bodies.append(f"<text x='0' y='{y + height / 2 + 4:.0f}'>{engine}</text>")
        for i, row in enumerate(rows[engine]):
            for r in row:
                x0, x1 = (LEFT + scale * (min(max(c, first), span[1]) - first) for c in (r.start, r.end))
                if x1 > x0:
                    bodies.append(_bar(r, x0, y + i * BAR, x1 - x0, colors[kind_of(r)], _faded(r, shown), first))
        y += height + GAP
    bottom = y
    parts += _bands(bands, span, scale, bottom)
    parts += _axis(span, scale, bottom)
    return f"<svg viewBox='0 0 {WIDTH} {bottom + 4}' width='100%' role='img'>{''.join(parts + bodies)}</svg>"


def _faded(record: TaskRecord, shown: str | None) -> bool:
    return shown is not None and record.source != shown and not record.source.startswith(f"{shown}.")


def _rows(records: Sequence[TaskRecord]) -> list[list[TaskRecord]]:
    """Records shared out to as few rows as keep them apart: rounds of LutLinear overlap."""
    rows: list[list[TaskRecord]] = []
    for record in sorted(records, key=lambda r: (r.start, r.end)):
        free = next((row for row in rows if row[-1].end <= record.start), None)
        if free is None:
            rows.append([record])
        else:
            free.append(record)
    return rows


def _bar(r: TaskRecord, x: float, y: float, width: float, color: str, faded: bool, origin: int) -> str:
    where = f"cycles {r.start - origin:,} to {r.end - origin:,} here"
    title = f"{r.task}\nmodule {r.source or 'none'}\n{r.engine}: {r.cycles:,} cycles, {where}"
    label = kind_of(r)
    text = ""
    if width > LETTER * len(label) + 4:
        text = f"<text class='bar' x='{x + 3:.1f}' y='{y + BAR - 5:.1f}'>{escape(label)}</text>"
    opacity = " opacity='.25'" if faded else ""
    size = f"width='{max(width - 0.4, 0.6):.1f}' height='{BAR - 1}'"
    return f"<g{opacity}><title>{escape(title)}</title><rect x='{x:.1f}' y='{y:.1f}' {size} fill='{color}'/>{text}</g>"


def _bands(bands: Sequence[tuple[str, int]], span: tuple[int, int], scale: float, bottom: float) -> list[str]:
    """Every second section shaded."""
    parts = []
    ends = [*(begin for _, begin in bands[1:]), span[1]][: len(bands)]
    for i, ((name, begin), end) in enumerate(zip(bands, ends, strict=True)):
        x, width = LEFT + scale * (begin - span[0]), scale * (end - begin)
        if i % 2:
            parts.append(f"<rect x='{x:.1f}' y='{TOP}' width='{width:.1f}' height='{bottom - TOP}' class='band'/>")
        if width > LETTER * len(name) + 4:
            parts.append(f"<text class='band' x='{x + 3:.1f}' y='{TOP - 16}'>{escape(name)}</text>")
    return parts


def _axis(span: tuple[int, int], scale: float, bottom: float) -> list[str]:
    """Ticks at round numbers of cycles."""
    length = max(1, span[1] - span[0])
    power = 10 ** max(0, len(str(length // TICKS)) - 1)
    step = next(power * m for m in (1, 2, 5, 10) if power * m * TICKS >= length)
    parts = []
    for cycle in range(0, length + 1, step):
        x = LEFT + scale * cycle
        anchor = " text-anchor='end'" if x > WIDTH - 30 else ""
        parts.append(f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{TOP}' y2='{bottom}'/>")
        parts.append(f"<text class='tick' x='{x:.1f}' y='{TOP - 4}'{anchor}>{cycle:,}</text>")
    return parts
