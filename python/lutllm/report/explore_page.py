"""What a search found, as text and as a page that shows every point: the report of `lutllm explore` in, both out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from lutllm.explore.search import OBJECTIVES
from lutllm.report.page import Page, table
from lutllm.report.text import align

HEAD = ("ms a token", "ms of the prompt", "LUT", "DSP", "BRAM", "URAM", "memory", "mJ a token", "simulated", "file")


def explore_table(report: Mapping[str, Any]) -> str:
    """The front, the best first."""
    rows = [HEAD, *(tuple(_cells(point)) for point in report["points"])]
    about = f"{report['tried']} points estimated, {report['refused']} refused"
    best = changes(report["points"][0])
    return f"{align(rows)}\n\n{about}; the best by {report['objective']}: {best}"


def explore_page(report: Mapping[str, Any], tried: Sequence[Mapping[str, Any]]) -> str:
    """`tried`: every point that has an estimate."""
    title = f"{report['model']} on {report['target']}: configurations for {report['objective']}"
    found = Page(title)
    limits = ", ".join(f"{name} {limit:g}" for name, limit in report["limits"].items())
    found.add(
        f"<p>{report['tried']} points were estimated, {report['refused']} cannot be built. None was placed or timed. "
        f"Limits: {escape(limits)}. Point at one for what it changes of the target.</p>"
    )
    objective = OBJECTIVES[report["objective"]]
    name = "decode_ms" if objective == "area" else objective
    front = {point["config"] for point in report["points"]}
    groups = {
        "others": [point for point in tried if point["config"] not in front],
        "the front": list(report["points"]),
    }
    data = [
        {
            "type": "scatter",
            "mode": "markers" if label == "others" else "lines+markers",
            "name": label,
            "x": [area(point) for point in points],
            "y": [point[name] for point in points],
            "text": [escape(f"{point['config']}: {changes(point)}") for point in points],
            "hovertemplate": "%{text}<br>%{x:.1f} % of its largest resource, %{y:.4g} ms<extra></extra>",
            "marker": {"size": 8, "color": "#9a9aa2" if label == "others" else "#f58518"},
        }
        for label, points in groups.items()
    ]
    axes = {"xaxis": {"title": {"text": "share of the resource that is used most, %"}}}
    found.chart(data, {**axes, "yaxis": {"title": {"text": name.replace("_", ", ")}, "type": "log"}})
    found.add("<h2>The front</h2>")
    rows = [[escape(changes(point)), *map(escape, _cells(point))] for point in report["points"]]
    found.add(table(["changes of the target", *HEAD], rows))
    return str(found)


def area(point: Mapping[str, Any]) -> float:
    """The share of the resource that is used most, in per cent."""
    return 100 * float(max(values["share"] for values in point["resources"].values()))


def changes(point: Mapping[str, Any]) -> str:
    """What it changes of the target."""
    return ", ".join(f"{name} = {value}" for name, value in point["changes"].items()) or "the target's own"


def _cells(point: Mapping[str, Any]) -> list[str]:
    simulated = point["simulated"]
    right = simulated and simulated["equal"] and simulated["cycles"] == simulated["predicted_cycles"]
    shares = (f"{point['resources'][kind]['share']:.1%}" for kind in ("LUT", "DSP", "BRAM", "URAM"))
    state = "no" if simulated is None else "as predicted" if right else "differs"
    return [
        f"{point['decode_ms']:.4g}", f"{point['prefill_ms']:.4g}", *shares, f"{point['hbm_busy']:.0%}",
        f"{point['energy_mj']:.3g}", state, point["config"],
    ]  # fmt: skip
