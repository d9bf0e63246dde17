"""Quantizations and configurations together, as text and as a page: the report of `lutllm explore --quality` in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from lutllm.report.explore_page import area, changes
from lutllm.report.page import Page, table
from lutllm.report.text import align

HEAD = ("model", "bits", "perplexity / float", "ms a token", "ms of the prompt", "largest share", "file")


def quality_table(report: Mapping[str, Any]) -> str:
    """What nothing beats in quality, time and area, the best quality first."""
    about = f"{len(report['models'])} models, {report['tried']} configurations within the limits"
    return f"{align([HEAD, *map(_cells, report['points'])])}\n\n{about}"


def quality_page(report: Mapping[str, Any], tried: Sequence[Mapping[str, Any]]) -> str:
    """`tried`: every configuration of every model that is within the limits."""
    time = report["time"]
    found = Page(f"Quality, time and area on {report['target']}")
    found.add(
        f"<p>{report['tried']} configurations of {len(report['models'])} quantized models; what no other beats in "
        "perplexity, time and area is large. None was placed or timed. Point at one for its files.</p>"
    )
    best = {(point["model"], point["config"]) for point in report["points"]}
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": label,
            "x": [point[time] for point in points],
            "y": [point["ratio"] for point in points],
            "text": [escape(f"{point['model']}, {point['config']}: {changes(point)}") for point in points],
            "customdata": [area(point) for point in points],
            "hovertemplate": "%{text}<br>%{x:.4g} ms, %{y:.4f} of float's perplexity, "
            "%{customdata:.1f} % of its largest resource<extra></extra>",
            "marker": {
                "size": 13 if label == "the front" else 6,
                "color": [area(point) for point in points],
                "coloraxis": "coloraxis",
            },
        }
        for label, points in {
            "others": [point for point in tried if (point["model"], point["config"]) not in best],
            "the front": list(report["points"]),
        }.items()
    ]
    layout = {
        "xaxis": {"title": {"text": time.replace("_", ", ")}, "type": "log"},
        "yaxis": {"title": {"text": "perplexity, integers / float"}},
        "coloraxis": {"colorscale": "Viridis", "colorbar": {"title": {"text": "area, %"}}},
        "legend": {"orientation": "h"},
    }
    found.chart(data, layout)
    found.add("<h2>The front</h2>")
    found.add(table(list(HEAD), [list(map(escape, _cells(point))) for point in report["points"]]))
    return str(found)


def _cells(point: Mapping[str, Any]) -> tuple[str, ...]:
    times = (f"{point[name]:.4g}" for name in ("decode_ms", "prefill_ms"))
    return (
        point["model"], f"{point['bits_effective']:.3f}", f"{point['ratio']:.4f}", *times, f"{area(point):.1f} %",
        point["file"],
    )  # fmt: skip
