"""Where cycles go: every cycle once, every beat once, and a reason for every round."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lutllm.cost.planning import Planner
from lutllm.cost.predicted import predicted
from lutllm.cost.traffic import traffic
from lutllm.lowering.machine.targets import find_target
from lutllm.lowering.schedule.data import Plan
from lutllm.passes.lut_outline_head import HEAD
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import hollow_model
from lutllm.report.estimate import decode_step, memory_seconds, prompt_step
from lutllm.report.paper import CONTEXT, paper
from lutllm.report.published import DEVICES, LATENCY_MS, PAIRS
from lutllm.report.where import NOTHING, RoundTime, cycles_by_part, port_rates, round_times
from lutllm.scheme import EXACT
from lutllm.simulate.transactions.passes import Pass, run_passes
from lutllm.simulate.transactions.records import TaskRecord

STEP = [(0, Pass("decode", 1, 9)), (1, Pass(HEAD, 1, 10))]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Planner(hollow_model(float_decoder(), EXACT.with_(G=48), positions=CONTEXT), CONTEXT).plan("tiny")


def test_every_cycle_counts_once() -> None:
    records = [
        TaskRecord("norm", "a", "m.norm", "p", 0, 10),
        TaskRecord("linear", "b", "m.q_proj", "p", 5, 20),
        TaskRecord("linear", "c", "m.k_proj", "p", 15, 30),
        TaskRecord("store", "d", "m.q_proj", "p", 28, 34),
        TaskRecord("pick", "e", "m.pick", "p", 40, 60),
    ]
    found = cycles_by_part(records, (0, 50))
    assert found == {"q_proj": 15, "k_proj": 10, "engine pick": 10, "engine norm": 5, "engine store": 4, NOTHING: 6}
    assert sum(found.values()) == 50


def test_the_cycles_and_rounds_of_a_step(plan: Plan) -> None:
    records = predicted(plan, [each for _, each in STEP])
    span = min(r.start for r in records), max(r.end for r in records)
    assert sum(cycles_by_part(records, span).values()) == span[1] - span[0]
    mine = [record for record in records if record.turn == 0]
    rounds = round_times(plan, STEP[0][1], mine)
    assert [found.name for found in rounds] == [
        task.round for task in plan.program("decode") if task.engine == "linear"
    ]
    begin, last = min(r.start for r in mine), max(r.end for r in mine if r.engine == "linear")
    assert sum(found.cycles for found in rounds) == last - begin
    assert all(found.cycles >= max(found.bounds.values()) - found.bounds["weights"] for found in rounds)
    assert rounds[0].inputs == "model.layers.0.self_attn.q_proj.input"


def test_a_round_has_a_reason() -> None:
    bounds = {"lookups": 100, "weights": 300}
    assert RoundTime("r", 310, bounds, "norm").reason == "weights: no faster on this machine"
    assert RoundTime("r", 400, bounds, "norm").reason == "weights takes 300; 100 more until norm is there"


def test_every_beat_is_in_the_rates(plan: Plan) -> None:
    records = predicted(plan, [each for _, each in STEP])
    rates = port_rates(plan, STEP, records, 50)
    cycles = (max(r.end for r in records) - min(r.start for r in records)) / 50
    moved = sum((np.array([traffic(plan, each).get("w", 0)]) for _, each in STEP))
    beats = 8 * int(moved[0]) / plan.config.engine.port_bits["w"] / plan.config.engine.weight_ports
    assert rates["w"].sum() * cycles == pytest.approx(beats)
    assert rates["kv write"].any() and not rates["e"].all()


def test_the_table_of_the_paper(plan: Plan) -> None:
    target = find_target("tiny")
    found = paper(plan, "tiny", target, "exact", 4.0)
    made = predicted(plan, run_passes(32, 16, plan.config.tokens))
    assert found.ours[0] == pytest.approx(max(r.end for r in made) / 250e3, rel=0.005)
    assert (
        found.ours[0] > prompt_step(plan, target, 32).cycles / 250e3 + 15 * decode_step(plan, target, 32).cycles / 250e3
    )
    text = str(found)
    assert "LUT-LLM" in text and "estimate" in text and "Where it loses:\nnowhere, of these" in text
    found.ours[4] = 500.0
    assert found.losses == [
        "A100 INT8 at 128 + 64: 1.07x as long",
        "A100 INT4 at 128 + 64: 1.15x as long",
    ]
    assert found.to_dict()["how"] == "estimated" and set(found.to_dict()["published_ms"]) == set(LATENCY_MS)
    assert all(len(row) == len(PAIRS) for row in LATENCY_MS.values())


def test_what_memory_needs_is_the_least(plan: Plan) -> None:
    target = find_target("tiny")
    fast = decode_step(plan, target, 9)
    assert fast.cycles == fast.hardware
    total, port = memory_seconds(plan, target, fast.moved)
    assert total == pytest.approx(sum(fast.moved.values()) / (819.2e9 * 0.92))
    assert port == pytest.approx(fast.moved["w"] / 12.8e9)
    slow = replace(target, memory=replace(target.memory, gb_per_s=0.1))
    found = decode_step(plan, slow, 9)
    assert found.hardware == fast.hardware < found.cycles
    assert found.cycles == math.ceil(250e6 * sum(fast.moved.values()) / (0.1e9 * 0.92))


def test_points_of_others_lie_under_their_roofs() -> None:
    for device in DEVICES:
        x, y = device.point
        assert y <= min(device.tops, device.gb_per_s * x / 1e3), device.name
