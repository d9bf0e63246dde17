"""Predicted cycles, and the page that shows when tasks ran: nothing lost, nothing hidden, one form for all sources."""

import itertools
import json
import re
import sys
from dataclasses import replace

import pytest

from lutllm.accelerator.hardware import PASSES
from lutllm.cost.layers import layer_of
from lutllm.cost.predicted import predicted, run_cycles
from lutllm.errors import InputError, MissingDependencyError, SimulationError
from lutllm.lowering.pipelines import to_scheduled
from lutllm.lowering.schedule.data import Plan
from lutllm.lowering.schedule.read import read_plan
from lutllm.passes import run_pipeline
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.report.gantt import colors_of, gantt
from lutllm.report.page import Page
from lutllm.report.schedule_page import busy_cycles, schedule_json, schedule_page
from lutllm.scheme import EXACT
from lutllm.simulate.transactions.passes import Pass, run_passes
from lutllm.simulate.transactions.records import TaskRecord, named_records

CONTEXT = 20
RECORDS = [
    TaskRecord("linear", "p.a", "model.layers.0.a", "prefill", 10, 30),
    TaskRecord("linear", "p.b", "model.layers.0.b", "prefill", 20, 40),
    TaskRecord("store", "p.s", "model.layers.1.<s>", "prefill", 40, 45),
    TaskRecord("norm", "h.n", "model.norm", "head", 50, 60, turn=1),
]


@pytest.fixture(scope="module")
def plan() -> Plan:
    shape = float_decoder(hidden=24, intermediate=40, layers=3, heads=4, kv_heads=2, head_dim=12, vocabulary=60)
    module = random_model(shape, EXACT.with_(G=48), 3, positions=CONTEXT).lut(CONTEXT)
    run_pipeline(module, to_scheduled("tiny"), passes=PASSES)
    return read_plan(module)


def test_passes_are_those_of_the_sequencer() -> None:
    assert run_passes(7, 2, 4) == [
        Pass("prefill", 4, 0),
        Pass("prefill", 3, 4),
        Pass("head", 3, 7),
        Pass("decode", 1, 7),
        Pass("head", 1, 8),
    ]
    assert run_passes(5, 1, 4)[1] == Pass("decode", 1, 4)
    assert run_passes(9, 0, 4, position=8) == [Pass("decode", 1, 8)]


def test_every_task_has_its_time(plan: Plan) -> None:
    passes = run_passes(7, 2, plan.config.tokens)
    records = predicted(plan, passes)
    assert [(r.turn, r.task) for r in records] == [
        (turn, task.name) for turn, each in enumerate(passes) for task in plan.program(each.program)
    ]
    assert all(0 < record.start < record.end for record in records)
    for turn in range(1, len(passes)):  # lists do not overlap
        ends = [r.end for r in records if r.turn == turn - 1]
        assert min(r.start for r in records if r.turn == turn) > max(ends)
    for engine in ("norm", "feed", "store", "residual", "heads", "attention", "swiglu", "pick"):
        mine = [r for r in records if r.engine == engine]  # each begins with the last words of the one before
        assert [b for a, b in itertools.pairwise(mine) if b.start <= a.start or b.end <= a.end] == [], engine


def test_waits_and_hazards_are_respected(plan: Plan) -> None:
    records = {record.task: record for record in predicted(plan, [Pass("prefill", 4, 8)])}
    done: dict[str, list[int]] = {}
    for task in plan.program("prefill"):
        for engine, pending in task.waits:
            before = done.get(engine, [])
            finished = before[: len(before) - pending]
            assert all(end < records[task.name].start for end in finished), task.name
        done.setdefault(task.engine, []).append(records[task.name].end)


def test_slower_memory_and_more_tokens_take_longer(plan: Plan) -> None:
    decode = [Pass("decode", 1, 5)]
    cycles = [run_cycles(predicted(plan, decode, latency)) for latency in (1, 64, 500)]
    assert cycles == sorted(set(cycles))
    assert cycles[1] < run_cycles(predicted(plan, [Pass("prefill", 4, 5)]))


def test_a_wait_without_end_is_named(plan: Plan) -> None:
    tasks = tuple(replace(t, waits=(("linear", 0),)) if t.engine == "feed" else t for t in plan.tasks)
    with pytest.raises(SimulationError, match=r"task prefill.*feed: waits for ever for engine linear; plan again"):
        predicted(replace(plan, tasks=tasks), [Pass("prefill", 4, 0)])


def test_names_for_what_hardware_did(plan: Plan) -> None:
    passes = [Pass("head", 1, 4)]
    tasks = plan.program("head")
    spans = [(task.engine, 100 + 10 * i, 150 + 10 * i) for i, task in enumerate(tasks)]
    records = named_records(plan, passes, spans, start=90)
    assert [(r.task, r.engine) for r in records] == [(task.name, task.engine) for task in tasks]
    feed = next(r for r in records if r.engine == "feed")
    assert (records[0].engine, records[0].start, records[0].end) == ("linear", feed.start, 60)  # not its dispatch, 10
    assert 10 < feed.start < 60
    linear = [r for r in records if r.engine == "linear"]
    assert all(b.start >= a.end for a, b in itertools.pairwise(linear))  # waiting in a queue is no work
    assert len(named_records(plan, passes, [*spans[:1], (spans[1][0], 110, -1)])) == 1
    with pytest.raises(
        InputError, match=r"task 0 of the run: expected \S+ on linear, got one on pick; log the whole run"
    ):
        named_records(plan, passes, [("pick", 1, 2)])


def test_busy_cycles_and_layers() -> None:
    assert busy_cycles(RECORDS) == 30 + 5 + 10
    assert [layer_of(r.source) for r in RECORDS] == ["model.layers.0", "model.layers.0", "model.layers.1", "rest"]
    assert layer_of("transformer.h.11.mlp") == "transformer.h.11"


def test_json_holds_what_the_page_says() -> None:
    data = json.loads(json.dumps(schedule_json(RECORDS, how="simulated", streams={"p": 12})))
    assert (data["how"], data["cycles"], data["streams"]) == ("simulated", 50, {"p": 12})
    assert data["engines"]["linear"] == {"tasks": 2, "busy": 30}
    assert data["layers"]["model.layers.0"] == {"linear": 30}
    assert data["lists"][1] == {"turn": 1, "program": "head", "start": 50, "end": 60}
    assert [TaskRecord.from_dict(values) for values in data["tasks"]] == RECORDS


def test_the_page_needs_nothing_else() -> None:
    html = schedule_page("a & b", RECORDS, how="simulated", streams={"p": 12})
    assert "<h1>a &amp; b</h1>" in html and "&lt;s&gt;" in html and "<s>" not in html
    assert not re.search(r"src=|href=|@import|url\(", html)
    assert "exact" in html and "not a simulation" in schedule_page("", RECORDS)
    for record in RECORDS:
        assert record.task in html
    assert "<td>stream p</td><td>12</td><td>24.0 %</td>" in html
    assert "<td>linear</td><td>2</td><td>30</td><td>60.0 %</td>" in html


def test_bars_stand_where_tasks_ran() -> None:
    chart = gantt(RECORDS[:3], colors_of(RECORDS), span=(10, 45), shown="model.layers.0", bands=[("0", 10), ("1", 40)])
    bars = re.findall(r"<g( opacity='.25')?><title>(\S+).*?x='([\d.]+)' y='([\d.]+)' width='([\d.]+)'", chart, re.S)
    faded, names, x, y, width = zip(*bars, strict=True)
    assert names == ("p.a", "p.b", "p.s")
    assert [bool(f) for f in faded] == [False, False, True]
    assert float(x[0]) < float(x[1]) < float(x[0]) + float(width[0])
    assert y[0] != y[1]  # two rounds at a time do not hide each other


def test_a_page_of_many_tasks(plan: Plan) -> None:
    records = predicted(plan, run_passes(7, 2, plan.config.tokens))
    html = schedule_page("many", records)
    assert html.count("<details open>") == 2  # one layer of prefill and one of decode are shown large
    assert html.count("<svg") == 3 + 2 * 3 and "layer 2" in html
    assert len(html) < 1 << 20
    assert schedule_page("many", records) == html


def test_no_records_give_a_page() -> None:
    assert "0 tasks in 0 cycles" in schedule_page("none", [])


def test_a_page_without_charts_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("plotly", "plotly.offline"):  # which another test may have loaded
        monkeypatch.setitem(sys.modules, name, None)
    page = Page("plain")
    page.add("<p>text</p>")
    assert "<p>text</p>" in str(page) and "<script" not in str(page)
    page.chart([], {})
    with pytest.raises(MissingDependencyError, match=r"'plotly' for charts, got none; pip install 'lutllm\[explore\]'"):
        str(page)
