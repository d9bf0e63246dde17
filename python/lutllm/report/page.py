"""A page of HTML that needs nothing else, light or dark as its reader's system is: parts in, text out.

Charts are drawn by plotly's script, which is inlined once where a page has any.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from lutllm.errors import MissingDependencyError

STYLE = """
:root { color-scheme: light dark; --back: #fff; --ink: #222; --faint: #777; --line: #ddd; --band: #f2f2f4;
  --accent: #4c78a8; --wrong: #fbb; }
@media (prefers-color-scheme: dark) { :root { --back: #16181c; --ink: #e4e4e7; --faint: #9a9aa2; --line: #3a3d44;
  --band: #1f2228; --accent: #7fb0e6; --wrong: #6b2020; } }
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 82em; padding: 0 1em; color: var(--ink);
  background: var(--back); }
table { border-collapse: collapse; margin: .5em 0 1em; display: block; overflow-x: auto; }
th, td { padding: .15em .7em; text-align: right; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; }
th:first-child, td:first-child, td:has(.text) { text-align: left; }
.wrong { background: var(--wrong); } .faint { color: var(--faint); }
svg { display: block; margin: .5em 0; } svg text { font: 12px sans-serif; fill: var(--ink); }
svg text.bar { font-size: 10.5px; fill: #222; } svg text.tick { font-size: 10px; fill: var(--faint); }
svg text.band { font-size: 10px; fill: var(--faint); } svg rect.band { fill: var(--band); }
svg line { stroke: var(--line); stroke-width: .5; }
g:hover rect { stroke: var(--ink); } summary { cursor: pointer; color: var(--accent); }
.key { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; } .share { width: 8em; padding: 0; }
.share i { display: block; height: .9em; background: var(--accent); }
.chart { width: 100%; height: 28em; }
"""
_DRAW = """
const dark = matchMedia('(prefers-color-scheme: dark)');
function draw() {
  const ink = dark.matches ? '#e4e4e7' : '#222', line = dark.matches ? '#3a3d44' : '#ddd';
  const axis = {gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true};
  for (const chart of charts) {
    const layout = {paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', font: {color: ink},
      margin: {l: 60, r: 20, t: 20, b: 50}, hovermode: 'closest',
      modebar: {bgcolor: 'rgba(0,0,0,0)', color: line, activecolor: ink}, ...chart.layout};
    for (const name of ['xaxis', 'yaxis']) layout[name] = {...axis, ...(chart.layout[name] || {})};
    Plotly.react(chart.id, chart.data, layout, {responsive: true, displaylogo: false});
  }
}
draw(); dark.addEventListener('change', draw);
"""


class Page:
    """Sections one after the other; `str` is the whole."""

    def __init__(self, title: str) -> None:
        self.title, self.parts = title, [f"<h1>{escape(title)}</h1>"]
        self.charts: list[dict[str, Any]] = []

    def add(self, *parts: str) -> None:
        """HTML; empty parts are left out."""
        self.parts += [part for part in parts if part]

    def chart(self, data: Sequence[Mapping[str, Any]], layout: Mapping[str, Any], height: float = 28) -> None:
        """A chart of plotly's: traces and layout, as its documentation has them; `height` in lines of text."""
        name = f"chart{len(self.charts)}"
        self.charts.append({"id": name, "data": data, "layout": layout})
        self.add(f"<div class=chart id={name} style='height:{height}em'></div>")

    def __str__(self) -> str:
        head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{escape(self.title)}"
        body = "\n".join(self.parts)
        return (
            f"<!doctype html>\n<html lang='en'>{head}</title><style>{STYLE}</style>\n{body}\n"
            f"{self._script() if self.charts else ''}</html>\n"
        )

    def _script(self) -> str:
        data = f"const charts = {_json(self.charts)};"
        return f"<script>{plotly_script()}</script>\n<script>{data}{_DRAW}</script>\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML, the head is text."""
    lines = ["<tr>" + "".join(f"<th>{escape(name)}</th>" for name in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return "<table>" + "\n".join(lines) + "</table>"


def share(part: float, whole: float) -> list[str]:
    """Two cells: a share as text and as a bar."""
    percent = 100 * part / max(1, whole)
    return [f"{percent:.1f} %", f"<div class=share><i style='width:{min(percent, 100):.1f}%'></i></div>"]


def plotly_script() -> str:
    """Of charts. Raises `MissingDependencyError`, which long work asks for before it begins."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        problem = "expected package 'plotly' for charts, got none; pip install 'lutllm[explore]'"
        raise MissingDependencyError(problem) from None
    return str(get_plotlyjs())


def _json(value: Any) -> str:
    """Data that cannot end a script."""
    return json.dumps(value).replace("</", "<\\/")
