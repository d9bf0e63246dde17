"""Logic levels of small designs, counted by hand, and those of the V80 against its clocks."""

from collections.abc import Callable
from dataclasses import replace
from math import log

import pytest

from lutllm.accelerator.hardware import Hardware
from lutllm.cost.levels import MUX, budget, levels, slowest
from lutllm.dialect.machines.limits import MODES
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, const, mux, pack
from lutllm.lowering.hardware.lib.stream import Stream, fifo
from lutllm.lowering.machine.targets import find_target
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import hollow_model
from lutllm.report.levels import longest_paths
from lutllm.scheme import EXACT
from lutllm.tools.lutllm import main

GATE = log(2, 6)


def design(body: Callable[[Module], dict[str, Signal]], clock: str | None = None, **inputs: int) -> Design:
    made = Design("sv")
    made.module("top", inputs, {"out": 8}, body, clock=clock)
    return made


def longest(made: Design, **mhz: float) -> tuple[float, str, str]:
    name, _, path = slowest(levels(made), "top", mhz or {"clk": 250})[0]
    assert name == "top"
    return path.levels, path.begin, path.end


def test_levels_between_two_registers() -> None:
    def body(m: Module) -> dict[str, Signal]:
        a, b = m.reg(m["a"], "a_q"), m.reg(m["b"], "b_q")
        return dict(out=m.reg(mux(m.reg(m["b"][0], "choice"), a & b, b), "out_q"))

    assert longest(design(body, a=8, b=8)) == (pytest.approx(GATE + MUX), "b_q", "out_q")


def test_bits_are_kept_apart() -> None:
    """A slow bit beside a fast one slows only who reads it."""

    def body(m: Module) -> dict[str, Signal]:
        a = m.reg(m["a"], "a_q")
        record = pack([a + a, ~a])
        return dict(out=m.reg(record[8:16] & const(0x7F, 8), "out_q"))

    assert longest(design(body, a=8)) == (0, "a_q", "out_q")  # an inverter is part of the next LUT, or of the register


def test_paths_go_through_instances() -> None:
    def inner(m: Module) -> dict[str, Signal]:
        return dict(through=m["a"] & m["b"], late=m.reg(m["a"] | m["b"], "late_q"))

    def body(m: Module) -> dict[str, Signal]:
        made = m.design.module("inner", {"a": 8, "b": 8}, {"through": 8, "late": 8}, inner)
        a, b = m.reg(m["a"], "a_q"), m.reg(m["b"], "b_q")
        first = m.instance(made, "first", a=a, b=b)
        second = m.instance(made, "second", a=first["through"], b=first["late"])
        return dict(out=m.reg(second["through"] ^ b, "out_q"))

    made = Design("sv")
    made.module("inner", {"a": 8, "b": 8}, {"through": 8, "late": 8}, inner)
    made.module("top", {"a": 8, "b": 8}, {"out": 8}, body)
    assert longest(made) == (pytest.approx(3 * GATE), "b_q", "out_q")


def test_a_path_may_end_in_an_instance() -> None:
    def body(m: Module) -> dict[str, Signal]:
        a = m.reg(m["a"], "a_q")
        out = Stream(a[0] & a[1], data=a).fifo(m, "queue", 4)
        out.drive(ready=a[2])
        return dict(out=out.data)

    made = Design("sv")
    fifo(made, 8, 4)
    made.module("top", {"a": 8}, {"out": 8}, body)
    own = levels(made)["top"].longest["clk"]
    assert own.levels > 2 * GATE and own.begin == "a_q" and own.end.startswith("queue.")


def test_each_clock_has_its_budget() -> None:
    """The shorter path, of the faster clock, is the worse one."""

    def body(m: Module) -> dict[str, Signal]:
        slow, fast = m.reg(m["a"], "slow"), m.other_side().reg(m["a"], "fast")
        sum_ = m.reg(slow + slow + slow, "sum")
        return dict(out=sum_ & m.other_side().reg(fast + fast, "twice"))

    made = design(body, clock="m_clk", a=8)
    assert longest(made, clk=250, m_clk=250)[1:] == ("slow", "sum")
    assert longest(made, clk=250, m_clk=600)[1:] == ("fast", "twice")


def test_budget() -> None:
    assert [budget(mhz) for mhz in (100, 250, 400)] == [19, 7, 4]


def test_the_v80_keeps_its_clocks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "qwen3-1.7b", "--levels"]) == 0, capsys.readouterr().out
    assert "all paths are within budget" in capsys.readouterr().out


def test_so_does_one_with_all_modes() -> None:
    target, shape = find_target("v80"), dict(layers=1, hidden=256, heads=8, kv_heads=4, head_dim=128, qk_norm=True)
    model = hollow_model(float_decoder(**shape), EXACT.with_(R=1), positions=8192)  # type: ignore[arg-type]
    config = Hardware.of(model.lut(8192), model.tensors, target="v80").plan.config
    paths = longest_paths(replace(config, modes=MODES), target.clock)
    assert [path for path in paths if path.levels > path.budget] == []


def test_a_clock_that_is_too_fast(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    target = tmp_path / "fast.toml"
    target.write_text(
        'like = "tiny"\nsummary = "fast"\n[clock]\ncore_mhz = 600\nmemory_mhz = 600\n[sources]\nclock = "a test"\n'
    )
    assert (
        main(
            ["estimate", "tiny", "--target", str(target), "--levels", "--kv", "20", "--prefill", "10", "--block", "64"]
        )
        == 1
    )
    assert "modules have longer paths than their clock allows" in capsys.readouterr().out
