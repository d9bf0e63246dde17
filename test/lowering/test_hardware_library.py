"""The library of the hardware generator: pipelines that align themselves, streams and ports by one name, machines."""

import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.hardware.control.task import Timing
from lutllm.lowering.hardware.lib.arithmetic import rounded_later
from lutllm.lowering.hardware.lib.bundle import Link, Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import stored
from lutllm.lowering.hardware.lib.signal import CycleError, Signal, WidthError, aligned, const, mux, pack
from lutllm.lowering.hardware.lib.state import Fsm, credit
from lutllm.lowering.hardware.lib.stream import Read, Stream, Write
from lutllm.lowering.hardware.vector import store
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.numerics import round_shift
from lutllm.simulate import ArcSimulator, run_streams

Body = Callable[[Module], Mapping[str, Any]]


def simulator(design: Design, name: str) -> ArcSimulator:
    made = ArcSimulator(hw_to_arc(design, name), optimize=0)
    made.randomize(5)
    if any(port.name == "rst" for port in made.layout.ports):
        made.reset()
    return made


def scaled(design: Design, latency: int | None = 4) -> str:
    """a * b in two cycles, + c in one, clamped to `limit` in one; c and d come whenever they are wanted."""

    def body(m: Module) -> dict[str, Signal]:
        product = m.reg(m["a"].zext(16) * m["b"].zext(16), "product", cycles=2)
        total = m.reg(product + m["c"].zext(16), "total")
        clamped = mux(total.ult(m["limit"]), total, m["limit"])
        return dict(sum=m.reg(clamped ^ m["d"].zext(16), "sum_q"), a_late=m["a"])

    inputs = {"a": 8, "b": 8, "c": 8, "d": 8, "limit": 16}
    outputs = {"sum": 16, "a_late": 8}
    return design.pipeline("scaled", inputs, outputs, body, steady=["limit"], latency=latency)


def test_unequal_paths_meet_in_the_cycle_of_the_latest() -> None:
    """New arguments every cycle: at whichever cycle an input is wanted, the parent's registers bring it there."""
    design = Design("arc")

    def body(m: Module) -> dict[str, Signal]:
        pipe = m.pipeline()
        given = {name: pipe.at(m[name]) for name in "abcd"}
        made = m.instance(scaled(design), "scaled", limit=m["limit"].steady(), **given)
        valid, total = aligned(pipe.valid(m["valid"]), made["sum"] + made["a_late"].zext(16))
        there = m.reg(pipe.valid(m["valid"]), "there_q", cycles=4)
        return dict(late=pack([valid, there]), total=total.due(4), wanted=pack([given["d"].until(4), made["a_late"]]))

    inputs = dict.fromkeys("abcd", 8) | {"limit": 16, "valid": 1}
    top = simulator(design, design.module("top", inputs, {"late": 2, "total": 16, "wanted": 16}, body))
    registers = [line for line in design.text().splitlines() if "seq.compreg" in line]
    assert sum("reset %rst" in line for line in registers) == 8  # what says that something is there, four cycles twice
    assert design.modules["scaled"].cycles == {"a": 0, "b": 0, "c": 2, "d": 3, "sum": 4, "a_late": 4}
    draw, sent = random.Random(1), list[tuple[int, ...]]()
    top.poke("limit", 40_000)
    for step in range(300):
        case = (*(draw.choice([0, 255, draw.randrange(256)]) for _ in range(4)), draw.randrange(2))
        for name, value in zip(("a", "b", "c", "d", "valid"), case, strict=True):
            top.poke(name, value)
        sent.append(case)
        top.evaluate()
        a, b, c, d, valid = sent[step - 4] if step >= 4 else (0, 0, 0, 0, 0)
        assert top.peek("late") == 3 * valid  # 0 until the first comes: its registers begin as 0
        if step >= 4:
            assert top.peek("total") == ((min(a * b + c, 40_000) ^ d) + a) % (1 << 16)
            assert top.peek("wanted") == d | a << 8
        top.cycle()


def test_a_signal_shares_its_registers_and_an_extension_has_none_of_its_own() -> None:
    def body(m: Module) -> dict[str, Signal]:
        pipe = m.pipeline()
        late, y = m.reg(pipe.at(m["x"]), "x_q", cycles=3), pipe.at(m["y"])
        return dict(a=late + y.sext(16), b=late - y.zext(16), c=y.until(2))

    design = Design("arc")
    design.module("shares", {"x": 16, "y": 4}, {"a": 16, "b": 16, "c": 4}, body)
    registers = [line.split()[-1] for line in design.text().splitlines() if "seq.compreg" in line]
    assert sorted(registers) == ["i16"] * 3 + ["i4"] * 3


CYCLE_ERRORS: list[tuple[Callable[[Module, Any], object], str]] = [
    (lambda m, p: p.at(m["x"]) + m["y"], "got ordinary logic too; say of which cycle it is"),
    (lambda m, p: p.at(m["x"]) + m.pipeline().at(m["y"]), "expected signals of one pipeline, got those of two"),
    (lambda m, p: p.at(m["x"], 3).until(2), "expected a signal of cycle 2 at the latest, got one of cycle 3"),
    (lambda m, p: p.at(m["x"]).due(1), "expected a signal of cycle 1, got one of cycle 0"),
    (lambda m, p: m["x"].cycle, "expected a signal that has a cycle"),
    (lambda m, p: m.instance("scaled", "s", a=p.at(m["x"]), b=m["y"], c=m["y"], d=m["y"], limit=const(0, 16)),
     "scaled: expected inputs of a pipeline, got ordinary logic too"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), CYCLE_ERRORS, ids=[message[:30] for _, message in CYCLE_ERRORS])
def test_cycle_errors(make: Callable[[Module, Any], object], message: str) -> None:
    design = Design("arc")
    scaled(design)

    def body(m: Module) -> dict[str, Signal]:
        make(m, m.pipeline())
        return {}

    with pytest.raises(CycleError, match=message):
        design.module("top", {"x": 8, "y": 8}, {}, body)


def test_a_pipeline_keeps_the_latency_that_it_says() -> None:
    with pytest.raises(CycleError, match="scaled: expected results after 5 cycles, got them after 4"):
        scaled(Design("arc"), latency=5)
    with pytest.raises(
        CycleError, match=r"loose.unused: expected a signal of the pipeline, got one that is of no cycle"
    ):
        Design("arc").pipeline("loose", {"x": 1, "unused": 1}, {"y": 1}, lambda m: dict(y=m["x"]))


def test_an_engine_is_done_a_cycle_after_its_last_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the prediction of cycles reads of an engine is what its pipeline makes."""
    monkeypatch.setattr(store, "TIMING", Timing(first=2, last=3))
    with pytest.raises(CycleError, match="store: expected `done` 2 cycles after the last step, got 3"):
        store.store(Design("arc"), AcceleratorConfig())


def test_streams_pass_slices_fifos_and_instances_by_one_name() -> None:
    """Fields of a payload arrive together and in order, whatever stands between."""
    design, kind = Design("arc"), Stream.of(low=6, high=70)

    def swapped(m: Module) -> dict[str, Any]:
        given = m["in"]
        return dict(out=given.carrying(low=given.low ^ 1, high=given.high))

    def body(m: Module) -> dict[str, Any]:
        middle = m.output_of("swapped", "first", **{"in": m["in"].slice(m, "slice")})
        return dict(out=m.output_of("swapped", "second", **{"in": middle.fifo(m, "queue", 5)}).slice(m, "last"))

    design.module("swapped", {"in": kind}, {"out": kind}, swapped)
    top = simulator(design, design.module("top", {"in": kind}, {"out": kind}, body))
    rng = np.random.default_rng(2)
    low, high = rng.integers(0, 64, 200), rng.integers(0, 256, (200, 9), np.uint8)
    high[:, 8] &= 63
    for stalls in (0, 90):
        result = run_streams(top, {"in": {"low": low, "high": high}}, {"out": 200}, stalls=stalls).check()
        assert np.array_equal(result.outputs["out"]["low"], low)
        assert np.array_equal(result.outputs["out"]["high"], high)
        if not stalls:
            assert set(np.diff(result.stream_cycles["out"]).tolist()) == {1}


def test_memory_ports_connect_by_one_name() -> None:
    design, write, read = Design("arc"), Write.of(4, 8), Read.of(4, 8)

    def user(m: Module) -> dict[str, Any]:
        pipe = m.pipeline()
        there = Read(pipe.at(m["address"]), 8, pipe.valid(m["go"]))
        found = there.data + 1  # a cycle after it was asked for
        back = Write(pipe.valid(m["go"]), pipe.at(m["address"]), found).later(m)
        assert back.address.cycle == 2
        return dict(words_read=there, words_write=back)

    def body(m: Module) -> dict[str, Any]:
        unit = m.instance("user", "unit", go=m["go"], address=m["address"])
        asked = unit["words_read"]
        word = stored(m, "words", 16, write=unit["words_write"], read=(asked.enable, asked.address))
        asked.drive(data=word)
        return dict(word=word)

    design.module("user", {"go": 1, "address": 4}, {"words_read": read, "words_write": write}, user)
    assert design.modules["user"].gives == {
        "words_read_address": 4, "words_read": 1, "words_write": 1, "words_write_address": 4, "words_write_data": 8,
    }  # fmt: skip
    top = simulator(design, design.module("top", {"go": 1, "address": 4}, {"word": 8}, body))
    top.randomize(1)
    top.reset()
    state = top.layout.state("words/mem")
    top.state[state.offset : state.offset + 16 * state.stride] = 0
    for turn in range(3):
        for address in range(16):
            top.poke("go", 1)
            top.poke("address", address)
            top.cycle()
            assert top.peek("word") == turn


CONNECTION_ERRORS: list[tuple[Body, str]] = [
    (lambda m: dict(out=Stream(m["in"].valid, data=m["in"].data)), r"top\.in: expected something that drives ready"),
    (lambda m: dict(out=m["in"].carrying(data=m["in"].data[0:4])), r"top\.out_data: expected 8 bits, got 4"),
    (lambda m: dict(out=m["in"].carrying(word=m["in"].data)), "top: expected signals"),
    (lambda m: m.instance("unit", "u") and dict(out=m["in"]), "top: expected what drives in of unit u, got nothing"),
    (lambda m: dict(out=m.output_of("unit", "u", **{"in": Link({"valid": m["in"].valid})})), "unit: expected inputs"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "message"), CONNECTION_ERRORS, ids=[message for _, message in CONNECTION_ERRORS])
def test_connections_that_do_not_fit(body: Body, message: str) -> None:
    design, kind = Design("arc"), Stream.of(8)
    design.module("unit", {"in": kind}, {"out": kind}, lambda m: dict(out=m["in"].fifo(m, "queue", 3)))
    with pytest.raises(WidthError, match=message):
        design.module("top", {"in": kind}, {"out": kind}, body)


def test_of_several_moves_of_a_machine_the_last_said_counts() -> None:
    def body(m: Module) -> dict[str, Signal]:
        fsm = Fsm(m, "state", ("idle", "work", "rest"))
        fsm.go("work", fsm.at("idle") & m["go"])
        fsm.go("rest", fsm.at("work") & m["done"])
        fsm.go("idle", fsm.at("rest"))
        fsm.go("idle", m["abort"])
        fsm.close()
        return dict(idle=fsm.at("idle"), busy=fsm.at("work", "rest"))

    design = Design("arc")
    inputs = dict.fromkeys(("go", "done", "abort"), 1)
    top = simulator(design, design.module("machine", inputs, {"idle": 1, "busy": 1}, body))
    draw, state = random.Random(3), "idle"
    seen = set()
    for _ in range(400):
        now = {name: int(draw.random() < 0.4) for name in inputs}
        for name, value in now.items():
            top.poke(name, value)
        top.evaluate()
        assert (top.peek("idle"), top.peek("busy")) == (state == "idle", state != "idle")
        following = {"idle": "work" if now["go"] else "idle", "work": "rest" if now["done"] else "work", "rest": "idle"}
        seen.add((state, now["abort"]))
        state = "idle" if now["abort"] else following[state]
        top.cycle()
    assert len(seen) == 6
    with pytest.raises(ValueError, match="expected a state among a, b, got c"):
        Design("arc").module("none", {"x": 1}, {}, lambda m: Fsm(m, "s", ("a", "b")).go("c", m["x"]) or {})


def test_flags_and_what_is_so_since() -> None:
    def body(m: Module) -> dict[str, Signal]:
        return dict(flag=m.flag("flag_q", m["on"], m["off"]), since=m.since("since_q", m["on"], ~m["off"]))

    design = Design("arc")
    top = simulator(design, design.module("flags", {"on": 1, "off": 1}, {"flag": 1, "since": 1}, body))
    draw, flag, since = random.Random(4), 0, 0
    for _ in range(100):
        on, off = draw.randrange(2), draw.randrange(2)
        top.poke("on", on)
        top.poke("off", off)
        top.evaluate()
        assert (top.peek("flag"), top.peek("since")) == (flag, since)
        flag, since = int(on or (flag and not off)), int(not off and (on or since))
        top.cycle()


def test_the_example_of_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    (code,) = re.findall(r"```python\n(def scale.*?)```", text, re.S)
    names: dict[str, Any] = dict(globals(), rounded_later=rounded_later, credit=credit, Wire=Wire)
    exec(code, names)
    design = Design("arc")
    top = simulator(design, names["scale"](design, 16))
    rng = np.random.default_rng(5)
    value, factor = rng.integers(-(1 << 15), 1 << 15, (2, 200))
    for stalls in (0, 100):
        given = {"in": {"value": value, "factor": factor}}
        result = run_streams(top, given, {"out": 200}, constants={"right": 9}, stalls=stalls).check()
        assert np.array_equal(result.outputs["out"].astype(np.uint32).view(np.int32), round_shift(value * factor, 9))
