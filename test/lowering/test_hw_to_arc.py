"""hw to arc: layouts, RAM semantics, registers that reset to a value, and errors that name what is wrong."""

import itertools
import random

import pytest

from lutllm.errors import IRError
from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import ram
from lutllm.lowering.hardware.lib.signal import Signal
from lutllm.lowering.hardware.lib.stream import fifo
from lutllm.simulate import ArcSimulator


def two_fifos(target: str) -> Design:
    design = Design(target)
    queue = design.loose(fifo(design, 12, 5))

    def body(m: Module) -> dict[str, Signal]:
        first = m.instance(queue, "first", in_valid=m["v"], in_data=m["d"], out_ready=m["r"])
        second = m.instance(queue, "second", in_valid=first["out_valid"], in_data=first["out_data"], out_ready=m["r"])
        return {"q": second["out_data"], "n": second["count"]}

    design.module("top", {"v": 1, "d": 12, "r": 1}, {"q": 12, "n": 3}, body)
    return design


def test_layout_names_ports_registers_and_memories() -> None:
    layout = hw_to_arc(two_fifos("arc"), "top").layout
    assert [(p.name, p.bits, p.direction) for p in layout.ports] == [
        ("clk", 1, "in"), ("rst", 1, "in"), ("v", 1, "in"), ("d", 12, "in"), ("r", 1, "in"), ("q", 12, "out"),
        ("n", 3, "out"),
    ]  # fmt: skip
    assert layout.state("second/count").bits == 3
    memory = layout.state("first/store/mem")
    assert (memory.depth, memory.bits, memory.stride) == (5, 12, 2)
    spans = [(s.offset, s.offset + max(s.bytes, s.depth * s.stride)) for s in layout.states]
    spans = sorted(spans + [(p.offset, p.offset + p.bytes) for p in layout.ports])
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    assert spans[-1][1] <= layout.size


def test_modules_the_top_does_not_reach_are_left_out() -> None:
    design = two_fifos("arc")
    design.module("other", {"a": 1}, {"b": 1}, lambda m: {"b": m["a"]})
    assert hw_to_arc(design, "top").layout == hw_to_arc(two_fifos("arc"), "top").layout
    assert [p.name for p in hw_to_arc(design, "other").layout.ports] == ["clk", "rst", "a", "b"]


def test_blocks_lowered_once_step_as_part_of_the_whole() -> None:
    """Ready goes back through both FIFOs, valid goes on: values are handed on until they stay."""
    design = two_fifos("arc")
    model = hw_to_arc(design, "top", ["fifo_5x12"])
    whole, cut, draw = ArcSimulator(hw_to_arc(design, "top")), ArcSimulator(model), random.Random(3)
    assert set(model.blocks) == {"fifo_5x12"} and len(model.llvm_ir) < len(hw_to_arc(design, "top").llvm_ir)
    assert cut.layout.ports != whole.layout.ports and {p.name for p in cut.layout.ports} == set("vdrqn") | {
        "clk",
        "rst",
    }
    names = {s.name: (s.bits, s.depth) for s in cut.layout.states}
    assert names == {s.name: (s.bits, s.depth) for s in whole.layout.states}
    for top in (whole, cut):
        top.reset()
    for _ in range(300):
        values = dict(v=draw.getrandbits(1), d=draw.getrandbits(12), r=draw.getrandbits(1), clk=0)
        for top in (whole, cut):
            for name, value in values.items():
                top.poke(name, value)
            top.evaluate()
        for level in (0, 1):
            for top in (whole, cut):
                top.poke("clk", level)
                top.evaluate()
            assert [cut.peek(name) for name in "qn"] == [whole.peek(name) for name in "qn"]
            assert [cut.peek_state(name) for name in names] == [whole.peek_state(name) for name in names]


def test_a_block_has_a_clock_of_the_top() -> None:
    text = (
        "hw.module @b(in %clk: !seq.clock, out q: i1) { %c = hw.constant 1 : i1\n hw.output %c : i1 }\n"
        "hw.module @t(in %a: i1, out b: i1) { %d = seq.to_clock %a\n"
        ' %c = hw.instance "x" @b(clk: %d: !seq.clock) -> (q: i1)\n hw.output %c : i1 }'
    )
    with pytest.raises(IRError, match="block 'x': expected a clock that is a port of 't', got one made there"):
        hw_to_arc(text, "t", ["b"])


def test_source_is_not_changed() -> None:
    design = two_fifos("arc")
    before = design.text()
    hw_to_arc(design, "top")
    assert design.text() == before


def test_register_with_nonzero_reset() -> None:
    design = Design("arc")

    def body(m: Module) -> dict[str, Signal]:
        count = m.state(8, "count", reset=200)
        return {"q": count.set(count.signal + 1, m["go"])}

    design.module("t", {"go": 1}, {"q": 8}, body)
    simulator = ArcSimulator(hw_to_arc(design, "t"))
    simulator.randomize(1)
    simulator.reset()
    assert simulator.peek("q") == 200
    simulator.poke("go", 1)
    simulator.cycle(3)
    assert simulator.peek("q") == 203


def test_ram_reads_the_old_word_and_holds_without_enable() -> None:
    design = Design("arc")
    name = ram(design, 16, 40, read_latency=1)
    simulator = ArcSimulator(hw_to_arc(design, name))

    def step(**ports: int) -> int:
        for port, value in ports.items():
            simulator.poke(port, value)
        simulator.cycle()
        return simulator.peek("rd")

    step(we=1, wa=3, wd=111, re=0, ra=3)
    assert step(we=1, wa=3, wd=222, re=1, ra=3) == 111
    assert step(we=0, re=0, ra=5) == 111
    assert step(re=1, ra=3) == 222
    assert simulator.peek_state("mem", 3) == 222


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "hw.module @t(in %a: i8, out b: i8) {\n"
            "%c = comb.add %a, %d : i8\n %d = comb.xor %c, %a : i8\n hw.output %d : i8 }",
            r"pass 'convert-to-arcs': .*combinational loop detected \(op \"comb.xor\"",
        ),
        (
            "hw.module @t(out b: i8) { %c = sv.reg : !hw.inout<i8>\n"
            "%d = sv.read_inout %c : !hw.inout<i8>\n hw.output %d : i8 }",
            "failed to legalize operation 'sv.reg'",
        ),
        ("hw.module @u() {}", "expected a module named 't', got u"),
        ("hw.module @t(", "hw module: .*1:14"),
        ("hw.module @t(in %a: !hw.array<2xi8>) {}", "expected an integer, got !arc.state<!hw.array<2xi8>>"),
        (
            "hw.module.extern @e(out b: i8)\n"
            'hw.module @t(out b: i8) { %c = hw.instance "x" @e() -> (b: i8)\n hw.output %c : i8 }',
            "'t' instantiates external module 'e', which has no body",
        ),
    ],
)
def test_errors_name_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(IRError, match=message):
        hw_to_arc(text, "t")


def test_a_design_for_the_other_target_is_refused() -> None:
    with pytest.raises(IRError, match="expected a design for target 'arc', got 'sv'"):
        hw_to_arc(two_fifos("sv"), "top")
