"""`lutllm report DIR`: what `lutllm compile` wrote of a whole model in; how fast, large and right it is out."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from lutllm.compiler.levels import parsed
from lutllm.compiler.model import TARGET
from lutllm.cost.area import Area
from lutllm.cost.calibration import calibration
from lutllm.cost.layers import layer_of
from lutllm.cost.traffic import traffic
from lutllm.errors import InputError
from lutllm.lowering.machine.targets import Target, find_target
from lutllm.lowering.schedule.read import read_plan
from lutllm.quantized.pretrained import from_pretrained
from lutllm.report.gantt import colors_of
from lutllm.report.page import Page, share, table
from lutllm.report.published import DEVICES
from lutllm.report.schedule_page import engine_table, list_section, occupancy_table, stream_table
from lutllm.report.where import cycles_by_part, port_rates, round_times
from lutllm.simulate.occupancy import Occupancy
from lutllm.simulate.transactions.passes import Pass
from lutllm.simulate.transactions.records import TaskRecord

BINS = 240  # of time, in the chart of ports
SCHEDULED, SCHEDULE, TOKENS = "ir/model.scheduled.mlir", "reports/schedule.json", "reports/tokens.json"
LOG = {"type": "log", "dtick": 1, "exponentformat": "power"}  # of an axis
WHAT = {"simulated": "simulated cycle by cycle", "predicted": "predicted, not simulated"}


class ModelReport:
    """`step`: the last token made, its decode list and its head's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.manifest = self._json("manifest.json")
        schedule = self._json(SCHEDULE)
        self.how, self.streams = schedule["how"], schedule["streams"]
        self.records = [TaskRecord.from_dict(values) for values in schedule["tasks"]]
        self.plan = read_plan(parsed(self._text(SCHEDULED)))
        self.model = from_pretrained(directory / "model")
        name = self.manifest["options"]["target"]
        self.target_name = Path(name).stem
        self.target: Target = find_target(str(directory / TARGET) if name.endswith(".toml") else name)
        lists = {each["turn"]: Pass(each["program"], each["tokens"], each["position"]) for each in schedule["lists"]}
        steps = [turn for turn, each in lists.items() if each.program == "decode" and turn + 1 in lists]
        if not steps:
            raise InputError(f"{directory}: expected a run that makes two tokens, got fewer; compile with --tokens 2")
        self.step = [(turn, lists[turn]) for turn in (steps[-1], steps[-1] + 1)]

    def _text(self, name: str) -> str:
        path = self.directory / name
        if not path.is_file():
            raise InputError(f"{path}: expected what lutllm compile MODEL -o DIR writes, got none; compile it")
        return path.read_text()

    def _json(self, name: str) -> Any:
        return json.loads(self._text(name))

    def records_of(self, turns: Sequence[int]) -> list[TaskRecord]:
        return [record for record in self.records if record.turn in turns]

    def page(self) -> str:
        name = self.manifest["model"]["name"]
        page = Page(f"{name} on target {self.target_name}")
        page.add(f"<p>{self._verdict()}</p>")
        mine = self.records_of([turn for turn, _ in self.step])
        span = min(r.start for r in mine), max(r.end for r in mine)
        self._roofline(page, span)
        self._where(page, mine, span)
        self._rounds(page)
        self._time(page, mine)
        self._bits(page)
        self._area(page)
        return str(page)

    def _verdict(self) -> str:
        tokens = self.directory / TOKENS
        made = ""
        if tokens.is_file():
            answer = json.loads(tokens.read_text())
            equal = "all equal to the golden model's" if answer["equal"] else "not those of the golden model"
            made = f"{len(answer['token_ids'])} tokens out of {answer['simulator']}, {equal}. "
        mhz = f"{self.target.clock.core_mhz:g} MHz"
        return f"{made}Cycles are {WHAT[self.how]}; seconds are theirs at {mhz}, for which nothing was placed."

    def _roofline(self, page: Page, span: tuple[int, int]) -> None:
        weights = sum(2 * linear.pairs * linear.outputs for linear in self.model.linears.values())
        moved = sum(sum(traffic(self.plan, each).values()) for _, each in self.step)
        seconds = (span[1] - span[0]) / self.target.clock.core_mhz / 1e6
        engine = self.plan.config.engine
        peak = engine.pairs * engine.lanes * 4 * self.target.clock.core_mhz / 1e6
        ports = sum((self.plan.config.read_ports | self.plan.config.write_ports).values())
        memory = self.target.memory
        bandwidth = min(memory.gb_per_s * memory.share, ports / 8 * self.target.clock.core_mhz / 1e3)
        own = f"this accelerator ({self.target_name})"
        roofs = [(own, peak, bandwidth, (2 * weights / moved, 2 * weights / seconds / 1e12))]
        roofs += [(d.name, d.tops, d.gb_per_s, d.point) for d in DEVICES]
        data = []
        for i, (name, tops, gb, (x, y)) in enumerate(roofs):
            color = ("#f58518", "#4c78a8", "#54a24b", "#b279a2")[i]
            knee = 1e3 * tops / gb
            xs = [0.1, knee, max(1e4, 2 * knee)]
            line: dict[str, Any] = {
                "x": xs,
                "y": [min(tops, gb * v / 1e3) for v in xs],
                "mode": "lines",
                "line": {"color": color},
            }
            dot = {"x": [x], "y": [y], "mode": "markers", "marker": {"size": 11, "color": color}}
            text = {"hovertemplate": f"{escape(name)}: %{{x:.3g}} op/B, %{{y:.3g}} Top/s<extra></extra>"}
            data.append({**line, "type": "scatter", "name": name, "legendgroup": name, "hoverinfo": "skip"})
            data.append({**dot, **text, "type": "scatter", "name": name, "legendgroup": name, "showlegend": False})
        axes = {
            "xaxis": {**LOG, "title": {"text": "operations a byte of memory"}},
            "yaxis": {**LOG, "title": {"text": "10¹² operations a second"}},
        }
        page.add(
            "<h2>Roofline of a token</h2>",
            "<p>Lines: what peak and memory allow; dots: what a token reached, two operations a weight of the linears. "
            "Ours is of this model; the others are of Qwen3-1.7B, as published.</p>",
        )
        page.chart(data, axes)
        sources = (f"{escape(d.name)}: {d.tops:g} Top/s, {d.gb_per_s:g} GB/s. {escape(d.source)}." for d in DEVICES)
        page.add(f"<p class=faint>{'<br>'.join(sources)}</p>")

    def _where(self, page: Page, mine: Sequence[TaskRecord], span: tuple[int, int]) -> None:
        parts = cycles_by_part(mine, span)
        total = span[1] - span[0]
        page.add(
            f"<h2>Where the {total:,} cycles of a token go</h2>",
            "<p>Each cycle counts once: for the linear that computes in it, or else for the first engine at work.</p>",
        )
        names = list(parts)
        bars = {
            "type": "bar", "orientation": "h", "y": names, "x": list(parts.values()), "marker": {"color": "#4c78a8"},
            "hovertemplate": "%{y}: %{x:,} cycles<extra></extra>",
        }  # fmt: skip
        axes = {"yaxis": {"autorange": "reversed"}, "xaxis": {"title": {"text": "cycles"}}}
        page.chart([bars], axes, 8 + 1.6 * len(parts))
        rows = ([escape(name), f"{cycles:,}", *share(cycles, total)] for name, cycles in parts.items())
        page.add(table(["part", "cycles", "of the token", ""], rows))

    def _rounds(self, page: Page) -> None:
        rows = []
        for turn, each in self.step:
            for found in round_times(self.plan, each, self.records_of([turn])):
                least = [f"{found.bounds[name]:,}" for name in ("lookups", "weights", "results")]
                reason = f"<span class=text>{escape(found.reason)}</span>"
                rows.append([escape(found.name), f"{found.cycles:,}", *least, reason])
        head = ["round", "cycles", "lookups", "weights", "results", "why it takes that long"]
        page.add(
            "<h2>Why each round is slow</h2>",
            "<p>From the end of the round before to its own; then the cycles that lookups, weights on their port and "
            "results take at least.</p>",
            f"<details open><summary>{len(rows)} rounds</summary>{table(head, rows)}</details>",
        )

    def _time(self, page: Page, mine: Sequence[TaskRecord]) -> None:
        for turn, each in self.step:
            records = self.records_of([turn])
            page.add(*list_section(f"Program {each.program}", records, colors_of(records)))
        rates = port_rates(self.plan, self.step, mine, BINS)
        rates = {name: values for name, values in rates.items() if values.any()}
        page.add(
            "<h2>Ports of memory in that time</h2>",
            "<p>Beats a cycle; those of a task count evenly over its cycles, though they may have come before.</p>",
        )
        heat = {
            "type": "heatmap", "y": [f"port {name}" for name in rates], "colorscale": "Viridis", "zmin": 0, "zmax": 1,
            "z": [[round(float(v), 3) for v in values] for values in rates.values()],
            "hovertemplate": "%{y}: %{z:.2f} beats a cycle<extra></extra>",
        }  # fmt: skip
        page.chart([heat], {"xaxis": {"visible": False}}, 6 + 2 * len(rates))
        page.add("<h2>The whole run</h2>", engine_table(self.records, max(r.end for r in self.records)))
        page.add(stream_table(self.streams, max(r.end for r in self.records)))
        full = self.directory / "reports" / "streams.json"
        if full.is_file():
            names = Occupancy.__dataclass_fields__
            kept = [{k: v for k, v in row.items() if k in names} for row in json.loads(full.read_text())]
            fifos = occupancy_table([Occupancy(**row) for row in kept])
            page.add(f"<details><summary>{len(kept)} FIFOs</summary>{fifos}</details>")

    def _bits(self, page: Page) -> None:
        kinds: dict[str, dict[str, Any]] = defaultdict(dict)
        for name, linear in self.model.linears.items():
            layer = layer_of(name)
            kinds[name.removeprefix(f"{layer}.")][layer.rpartition(".")[2]] = linear
        page.add(
            "<h2>Bits and error by layer</h2>",
            "<p>Effective bits a weight; error of the outputs against the float linear's.</p>",
        )
        for what in ("bits", "error"):
            data = []
            for kind, mine in kinds.items():
                values = [self._of(linear, what) for linear in mine.values()]
                if any(value is not None for value in values):
                    layers = [f"layer {i}" if i.isdigit() else i for i in mine]
                    data.append({"type": "bar", "name": kind, "x": layers, "y": values})
            if data:
                title = "effective bits a weight" if what == "bits" else "relative error of outputs"
                page.chart(data, {"barmode": "group", "yaxis": {"title": {"text": title}}}, 22)

    @staticmethod
    def _of(linear: Any, what: str) -> float | None:
        if what == "bits":
            return round(linear.bits_per_weight()[1], 4)
        error = linear.metadata.get("output_error")
        return None if error is None else round(error, 6)

    def _area(self, page: Page) -> None:
        device = self.target.device
        area = Area(self.plan.config, device)
        total, slrs = area.total(device), area.slrs(device)
        errors = calibration()["resources"]
        head = ["resource", "used", f"of the {device.name}", "", *(f"SLR {i}" for i in range(len(slrs))), "error"]
        rows = []
        for kind, values in total.items():
            error = errors[kind]
            known = f"median {error['median']:.1%}, worst {error['worst']:.1%} of {error['of']}"
            shares = (f"{slr[kind]:.1%}" for slr in slrs)
            rows.append([kind, f"{values['used']:,}", *share(values["used"], values["available"]), *shares, known])
        page.add(
            "<h2>Resources</h2>",
            "<p>An estimate from the structure of the hardware, calibrated with Yosys; nothing was placed. SLRs: units "
            "spread evenly, one by one, whatever their wires.</p>",
            table(head, rows),
        )
        units = area.units_by("LUT")
        bars = [
            {"type": "bar", "name": kind, "x": list(units), "y": [100 * u[kind] / count for u in units.values()]}
            for kind, count in device.available.items()
        ]
        page.chart(bars, {"barmode": "group", "yaxis": {"title": {"text": f"% of the {device.name}"}}}, 26)
        yosys = self.directory / "reports" / "resources.json"
        if yosys.is_file():
            counted = json.loads(yosys.read_text())["total"]
            kinds = ", ".join(f"{counted[kind]:,g} {kind}" for kind in device.available if kind in counted)
            page.add(f"<p>Yosys, module by module: {kinds}.</p>")


def model_page(directory: str | Path) -> str:
    """The page. `InputError` for a directory that holds no compiled model."""
    return ModelReport(Path(directory)).page()
