"""`lutllm estimate` beside a simulation of the same model with weights: cycles, and bytes on every port."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lutllm.accelerator.hardware import Hardware, build
from lutllm.cost.planning import Planner
from lutllm.cost.predicted import predicted
from lutllm.cost.traffic import traffic
from lutllm.errors import CapacityError
from lutllm.lowering.machine.accelerator import IMAGE_HEADER
from lutllm.lowering.machine.targets import find_target
from lutllm.quantizer.random.float_models import LayerShape, float_decoder
from lutllm.quantizer.random.model import hollow_model, random_model
from lutllm.report.estimate import estimate
from lutllm.scheme import ADDITIVE, EXACT, Scheme
from lutllm.simulate.transactions.passes import Pass, run_passes
from lutllm.tools.lutllm import main

KV, PREFILL, CONTEXT = 9, 9, 24
SHAPE: dict[str, Any] = dict(layers=2, hidden=36, heads=3, kv_heads=1, head_dim=20, qk_norm=True)


@pytest.mark.parametrize("scheme", [EXACT.with_(R=1, G=40), ADDITIVE.with_(G=40)], ids=["exact", "additive"])
def test_cycles_and_bytes_are_those_of_hardware(scheme: Scheme) -> None:
    """The estimate has no weights, the simulation random ones."""
    program = float_decoder(**SHAPE)
    model = random_model(program, scheme, positions=CONTEXT)
    hardware = Hardware.of(model.lut(CONTEXT), model.tensors, target="tiny")
    hollow = hollow_model(program, scheme, positions=CONTEXT)
    assert hollow.bits["effective"] == model.bits["effective"]
    plan = Hardware.of(hollow.lut(CONTEXT), model.tensors, target="tiny").plan
    found = estimate(plan, "tiny", find_target("tiny"), hollow.bits["effective"], kv=KV, prefill=PREFILL)

    answer = hardware.answer(build(hardware.plan.config, "arc"), list(range(PREFILL)), 2)
    assert answer.equal
    assert found.decode_cycles == answer.token_cycles[1] - answer.token_cycles[0]
    moved: Counter[str] = Counter(d=8 * len(IMAGE_HEADER))
    for each in run_passes(PREFILL, 2, plan.config.tokens):
        moved.update(traffic(plan, each))
    counted: Counter[str] = Counter()
    for name, port in answer.run.result.ports.items():
        counted[name.removeprefix("m_axi_").rstrip("0123456789")] += port.bytes
    assert moved == counted


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "slow.toml").write_text(
        'like = "tiny"\nsummary = "half as fast"\n[clock]\ncore_mhz = 125\nmemory_mhz = 125\n'
        '[sources]\nclock = "mine"\n'
    )
    found = []
    for target in ("tiny", str(tmp_path / "slow.toml")):
        command = ["estimate", "tiny", "--target", target, "--kv", "20", "--prefill", "10", "--block", "64"]
        assert main([*command, "--json", str(tmp_path / "out.json"), "--debug"]) == 0
        found.append(json.loads((tmp_path / "out.json").read_text()))
    assert "a token after 20" in capsys.readouterr().out
    fast, slow = found
    assert (fast["target"], slow["target"]) == ("tiny", "slow")
    assert fast["decode_cycles"] == slow["decode_cycles"] and slow["decode_ms"] == 2 * fast["decode_ms"]
    assert fast["decode_ms"] == pytest.approx(fast["decode_cycles"] / 250e3)
    assert fast["prefill_cycles"] > 2 * fast["decode_cycles"]
    assert fast["hbm_busy"] == pytest.approx(2 * slow["hbm_busy"])
    assert (fast["memory_mhz"], slow["memory_mhz"]) == (250, 125)
    assert main([*command, "--json", str(tmp_path / "out.json"), "--no-head"]) == 0
    assert "a token after 20, without LM head" in capsys.readouterr().out
    headless = json.loads((tmp_path / "out.json").read_text())
    assert slow["head"] and not headless["head"] and headless["decode_cycles"] < slow["decode_cycles"]
    assert sum(headless["bytes"].values()) < sum(slow["bytes"].values())
    assert headless["prefill_cycles"] == slow["prefill_cycles"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny", "--target", "v81"], "expected a target among"),
        (["nothing"], "expected"),
        (["tiny", "--target", "tiny", "--kv", "100000"], "expected"),
    ],
)
def test_what_cannot_be_estimated(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and "unexpected" not in error and error.count("\n") == 1


def _alternating(layers: int) -> list[LayerShape]:
    return [LayerShape(intermediate=(40, 56)[i % 2]) for i in range(layers)]


@pytest.mark.parametrize(
    ("shape", "context", "periods"),
    [
        ({"layers": 9}, 32, (1, 4)),
        ({"layers": _alternating(11)}, 40, (2, 1)),
        ({"layers": [*_alternating(6), LayerShape()]}, 32, None),
        ({"layers": 4}, 32, None),
    ],
    ids=["alike", "two by two", "unlike", "few"],
)
def test_layers_alike_are_scheduled_once(shape: dict[str, Any], context: int, periods: tuple[int, int] | None) -> None:
    """The plan made of a few layers gives the cycles and bytes of the plan of all, task by task."""
    model = hollow_model(float_decoder(**shape), EXACT.with_(R=1, G=48), positions=context)
    short, whole = Planner(model, context), Planner(model, context)
    assert (short.short and (short.short.period, short.short.periods)) == periods
    whole.short = None
    plans = [planner.plan("tiny") for planner in (short, whole)]
    passes = [
        Pass("prefill", 4, 0),
        Pass("prefill", 3, 4),
        Pass("head", 3, 7),
        Pass("decode", 1, 7),
        Pass("head", 1, 8),
    ]
    records = [predicted(plan, passes) for plan in plans]
    assert records[0] == records[1]
    assert [traffic(plans[0], each) for each in passes] == [traffic(plans[1], each) for each in passes]
    assert (short.short is None) == (periods is None)  # tasks repeated as well


def test_layers_that_do_not_fit_memory_are_refused(tmp_path: Path) -> None:
    (tmp_path / "full.toml").write_text(
        'like = "tiny"\nsummary = "little"\n[memory]\nbytes = 900_000\n[sources]\nmemory = "mine"\n'
    )
    model = hollow_model(float_decoder(layers=9), EXACT.with_(R=1, G=48), positions=32)
    planner = Planner(model, 32)
    with pytest.raises(CapacityError, match="expected at most 900000 bytes, got"):
        planner.plan(str(tmp_path / "full.toml"))
    assert planner.short is not None


def test_the_table_of_the_paper(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--paper", "--json", str(tmp_path / "table.json"), "--debug"]) == 0
    table = json.loads((tmp_path / "table.json").read_text())
    assert table["target"] == "v80" and len(table["ours"]) == len(table["pairs"]) == 6
    assert table["published_ms"]["LUT-LLM"][0] == 105.9 and table["published_ms"]["MI210 INT8"][5] == 4618.6
    assert table["ours"][0] < table["ours"][1] < table["ours"][2] < table["ours"][5]
    assert "128 + 256" in (text := capsys.readouterr().out) and "estimate" in text
    assert main(["bench", "--paper", "--tokens", "3"]) == 1
    assert "expected --paper with --target and --scheme alone, got tokens too" in capsys.readouterr().err
