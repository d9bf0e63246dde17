"""`reports/report.html`: the rows of the main job as one page that needs nothing else, with a picture of the rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

from lutllm.report.page import Page
from lutllm.report.text import short_names

WIDTH, BAR, GAP = 900, 26, 30  # pixels
COLORS = ("#4c78a8", "#72b7b2", "#54a24b", "#eeca3b", "#f58518", "#e45756", "#b279a2", "#9d755d")


def linears_page(title: str, rows: Sequence[Mapping[str, Any]], peak: int) -> str:
    """The page. `rows`: those of `reports/equality.json`, in program order; `peak`: the engine's lookups a cycle."""
    wrong = sum(not row["equal"] for row in rows)
    verdict = (
        f"{wrong} of {len(rows)} differ" if wrong else f"all {len(rows)} equal the golden model, integer for integer"
    )
    found = Page(title)
    found.add(f"<p>{verdict}. Cycles are from simulation, exact.</p>", "<h2>Cycles by linear</h2>")
    found.add(
        f"<p>A bar is a program: one row source, its linears in the order they run. Percent: of the engine's {peak} "
        f"lookups per cycle.</p>",
        _chart(rows, peak),
        "<h2>Every linear</h2>",
        _table(rows),
    )
    return str(found)


def _programs(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Rows by program, in order: a program has one layer, scheme and row source."""

    def key(row: Mapping[str, Any]) -> str:
        layer = ".".join(row["linear"].split(".")[:3])
        return f"{layer}, {row['scheme']}, {row['row_source']}"

    return [(name, list(mine)) for name, mine in groupby(rows, key)]


def _chart(rows: Sequence[Mapping[str, Any]], peak: int) -> str:
    programs = _programs(rows)
    longest = max(sum(row["cycles"] for row in mine) for _, mine in programs)
    parts = []
    for line, (name, mine) in enumerate(programs):
        y, x = line * (BAR + GAP), 0.0
        total = sum(row["cycles"] for row in mine)
        parts.append(f"<text x='0' y='{y + 14}'>{escape(name)}: {total:,} cycles</text>")
        for i, row in enumerate(mine):
            width = WIDTH * row["cycles"] / longest
            parts.append(_segment(row, x, y + 18, width, COLORS[i % len(COLORS)], peak))
            x += width
    height = len(programs) * (BAR + GAP)
    return f"<svg viewBox='0 0 {WIDTH} {height}' width='100%' role='img'>{''.join(parts)}</svg>"


def _segment(row: Mapping[str, Any], x: float, y: int, width: float, color: str, peak: int) -> str:
    linear = row["linear"].split(".")[-1]
    share = row["lookups_per_cycle"] / peak
    label = f"{linear} {share:.0%}" if width > 90 else ""
    title = f"{row['linear']}: {row['cycles']:,} cycles, {row['lookups_per_cycle']} lookups/cycle ({share:.1%})"
    return (
        f"<g><title>{escape(title)}</title>"
        f"<rect x='{x:.1f}' y='{y}' width='{width:.1f}' height='{BAR}' fill='{color}' stroke='#fff'/>"
        f"<text x='{x + 4:.1f}' y='{y + 17}'>{escape(label)}</text></g>"
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = ["linear", "scheme", "row_source", "shape", "tokens", "bits_code", "bits_effective", "output_error"]
    columns += ["cycles", "lookups_per_cycle", "equal"]
    short = short_names(sorted({row["linear"] for row in rows}))
    lines = ["<tr>" + "".join(f"<th>{name.replace('_', ' ')}</th>" for name in columns) + "</tr>"]
    for row in rows:
        shown = {**row, "linear": short[row["linear"]], "shape": "x".join(map(str, row["shape"]))}
        shown["equal"] = "yes" if row["equal"] else f"no: {row['first_mismatch']}"
        cells = "".join(f"<td>{escape(str(shown[name]))}</td>" for name in columns)
        lines.append(f"<tr{'' if row['equal'] else ' class=wrong'}>{cells}</tr>")
    return "<table>" + "\n".join(lines) + "</table>"
