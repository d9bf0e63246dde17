"""The hardware builder: what its operators compute, and the width errors that name what does not fit."""

import random
from collections.abc import Callable

import pytest

from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Fields, Signal, WidthError, all_of, any_of, const, mux, pack, select
from lutllm.lowering.hardware.lib.state import Levels, credit, loop_nest
from lutllm.simulate import ArcSimulator

Body = Callable[[Module], dict[str, Signal]]


def build(inputs: dict[str, int], outputs: dict[str, int], body: Body) -> ArcSimulator:
    design = Design("arc")
    design.module("top", inputs, outputs, body)
    simulator = ArcSimulator(hw_to_arc(design, "top"), optimize=0)
    simulator.reset()
    return simulator


def signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


BITS = 7
OPERATORS: dict[str, tuple[int, Callable[[Signal, Signal], Signal], Callable[[int, int], int]]] = {
    "add": (BITS, lambda a, b: a + b, lambda a, b: a + b),
    "sub": (BITS, lambda a, b: a - b, lambda a, b: a - b),
    "mul": (BITS, lambda a, b: a * b, lambda a, b: a * b),
    "and": (BITS, lambda a, b: a & b, lambda a, b: a & b),
    "or": (BITS, lambda a, b: a | b, lambda a, b: a | b),
    "xor": (BITS, lambda a, b: a ^ b, lambda a, b: a ^ b),
    "invert": (BITS, lambda a, b: ~a, lambda a, b: ~a),
    "shl": (BITS, lambda a, b: a << b, lambda a, b: a << b),
    "shr": (BITS, lambda a, b: a >> b, lambda a, b: a >> b),
    "sra": (BITS, lambda a, b: a.sra(b), lambda a, b: signed(a, BITS) >> b),
    "eq": (1, lambda a, b: a.eq(b), lambda a, b: a == b),
    "ne": (1, lambda a, b: a.ne(b), lambda a, b: a != b),
    "ult": (1, lambda a, b: a.ult(b), lambda a, b: a < b),
    "uge": (1, lambda a, b: a.compare("uge", b), lambda a, b: a >= b),
    "slt": (1, lambda a, b: a.slt(b), lambda a, b: signed(a, BITS) < signed(b, BITS)),
    "sge": (1, lambda a, b: a.compare("sge", b), lambda a, b: signed(a, BITS) >= signed(b, BITS)),
    "minus_three": (BITS, lambda a, b: a + -3, lambda a, b: a - 3),
    "bit": (1, lambda a, b: a[3], lambda a, b: a >> 3),
    "slice": (3, lambda a, b: a[2:5], lambda a, b: a >> 2),
    "zext": (BITS + 2, lambda a, b: a.zext(BITS + 2), lambda a, b: a),
    "sext": (BITS + 2, lambda a, b: a.sext(BITS + 2), lambda a, b: signed(a, BITS)),
    "pack": (2 * BITS, lambda a, b: pack([a, b]), lambda a, b: a | b << BITS),
    "chunks": (BITS, lambda a, b: pack([a, b]).chunks(BITS)[1], lambda a, b: b),
    "mux": (BITS, lambda a, b: mux(a[0], a, b), lambda a, b: a if a & 1 else b),
    "select": (4, lambda a, b: select([const(i, 4) for i in range(5)], a[0:3]), lambda a, b: min(a & 7, 4)),
    "any": (1, lambda a, b: any_of([a[0], a[1], b[0]]), lambda a, b: bool(a & 3 or b & 1)),
    "all": (1, lambda a, b: all_of([a[0], a[1], b[0]]), lambda a, b: a & 3 == 3 and b & 1),
}


def test_operators_compute_what_they_say() -> None:
    def body(m: Module) -> dict[str, Signal]:
        return {name: make(m["a"], m["b"]) for name, (_, make, _) in OPERATORS.items()}

    top = build({"a": BITS, "b": BITS}, {name: bits for name, (bits, _, _) in OPERATORS.items()}, body)
    draw = random.Random(1)
    cases = [(0, 0), (127, 127), (64, 7), (64, 100), (127, 0)]  # shifts by more than the width too
    for a, b in cases + [(draw.randrange(128), draw.randrange(128)) for _ in range(60)]:
        top.poke("a", a)
        top.poke("b", b)
        top.evaluate()
        for name, (bits, _, expected) in OPERATORS.items():
            assert top.peek(name) == int(expected(a, b)) & ((1 << bits) - 1), (name, a, b)


WIDTH_ERRORS: list[tuple[Callable[[Module], object], str]] = [
    (lambda m: m["a"] + m["b"], "expected operands of one width, got 8 and 4 bits"),
    (lambda m: mux(m["c"], m["a"], m["b"]), "expected operands of one width, got 8 and 4 bits"),
    (lambda m: m["a"] + 256, "expected a constant of 8 bits, got 256"),
    (lambda m: m["a"] + -129, "expected a constant of 8 bits, got -129"),
    (lambda m: m["a"][4:9], r"expected a slice inside 8 bits, got \[4:9\]"),
    (lambda m: m["a"][4:4], r"expected a slice inside 8 bits, got \[4:4\]"),
    (lambda m: m["a"][8], r"expected a slice inside 8 bits, got \[8:9\]"),
    (lambda m: m["a"].chunks(3), "expected a multiple of 3 bits, got 8"),
    (lambda m: m["a"].zext(7), "expected at most 7 bits, got 8"),
    (lambda m: m["a"].sext(7), "expected at most 7 bits, got 8"),
    (lambda m: Wire(3).assign(m["a"]), "expected 3 bits, got 8"),
    (lambda m: m.instance("leaf", "l", x=m["b"]), "leaf.x: expected 8 bits, got 4"),
    (lambda m: m.instance("leaf", "l", y=m["a"]), r"leaf: expected inputs \['x'\], got \['y'\]"),
    (lambda m: Fields(p=2, q=8).pack(p=m["b"], q=m["a"]), "field p: expected 2 bits, got 4"),
    (lambda m: Fields(p=2, q=8).pack(q=m["a"]), r"expected fields \['p', 'q'\], got \['q'\]"),
    (lambda m: Fields(p=2, q=8).unpack(m["a"]), "expected a record of 10 bits, got 8"),
    (lambda m: {"z": m["a"]}, "top.z: expected 4 bits, got 8"),
    (lambda m: {"y": m["b"]}, r"top: expected outputs \['z'\], got \['y'\]"),
]


@pytest.mark.parametrize(("make", "message"), WIDTH_ERRORS, ids=[message[:40] for _, message in WIDTH_ERRORS])
def test_width_errors(make: Callable[[Module], object], message: str) -> None:
    design = Design("arc")
    design.module("leaf", {"x": 8}, {"y": 8}, lambda m: {"y": m["x"]})

    def body(m: Module) -> dict[str, Signal]:
        result = make(m)
        return result if isinstance(result, dict) else {"z": m["b"]}

    with pytest.raises(WidthError, match=message):
        design.module("top", {"a": 8, "b": 4, "c": 1}, {"z": 4}, body)


def test_a_register_with_reset_needs_a_module_with_reset() -> None:
    def body(m: Module) -> dict[str, Signal]:
        return {"q": m.reg(m["d"], "held", reset=0)}

    with pytest.raises(WidthError, match="register held: expected a module with reset"):
        Design("arc").module("top", {"d": 1}, {"q": 1}, body, reset=False)


def test_unknown_target() -> None:
    with pytest.raises(ValueError, match="expected target to be one of arc, sv, got 'vhdl'"):
        Design("vhdl")


def test_a_module_of_the_same_name_is_made_once() -> None:
    design, built = Design("arc"), []

    def body(m: Module) -> dict[str, Signal]:
        built.append(m)
        return {"q": m["d"]}

    for _ in range(2):
        assert design.module("unit", {"d": 1}, {"q": 1}, body) == "unit"
    assert len(built) == 1


@pytest.mark.parametrize("held", [False, True], ids=["count of a port", "count of a register"])
def test_loop_nest_walks_like_nested_loops(held: bool) -> None:
    """Four levels, the inner count of the last outer iteration shorter; steps come at random. A register's count may
    change with the last step, or while there is none."""

    def body(m: Module) -> dict[str, Signal]:
        n = m.reg(m["n"], "n_q", enable=m["load"]) if held else m["n"]
        levels: Levels = [("i", n), ("j", lambda at: mux(at["i_last"], const(1, 4), n + 2)), ("k", n)]
        levels = [*levels, ("l", lambda at: mux(at["j_first"], mux(at["i_last"], n, const(2, 4)), const(1, 4)))]
        index, last, first = loop_nest(m, m["step"], levels)
        flags = {
            f"{name}_{at}": value for at, values in (("last", last), ("first", first)) for name, value in values.items()
        }
        return {**index, **flags}

    widths = dict.fromkeys("ijkl", 4) | {f"{name}_{at}": 1 for at in ("last", "first") for name in "ijkl"}
    top = build({"step": 1, "n": 4, "load": 1}, widths, body)
    draw = random.Random(2)
    for n in (1, 2, 5, 1, 3):
        walk = []
        for i in range(n):
            of_j = 1 if i == n - 1 else n + 2
            for j in range(of_j):
                of_l = (n if i == n - 1 else 2) if j == 0 else 1
                walk += [((i, n), (j, of_j), (k, n), (m, of_l)) for k in range(n) for m in range(of_l)]
        if not held or draw.random() < 0.5:
            top.reset()
        top.poke("n", n)
        top.poke("load", 1)
        top.poke("step", 0)
        top.cycle()
        top.poke("load", 0)
        for place in walk * 2:  # back at its first after the last
            top.evaluate()
            lasts, firsts = (index == count - 1 for index, count in place), (index == 0 for index, _ in place)
            expected = (*(index for index, _ in place), *lasts, *firsts)
            assert tuple(top.peek(name) for name in widths) == expected
            while draw.random() < 0.4:
                top.poke("step", 0)
                top.cycle()
                assert tuple(top.peek(name) for name in widths) == expected
            top.poke("step", 1)
            top.cycle()


def test_credit_counts_gives_and_takes() -> None:
    """Of one giver, and of two, who must both have given."""

    def body(m: Module) -> dict[str, Signal]:
        one = credit(m, "one", 7, give=m["give"][0], take=m["take_one"], initial=2)
        return {"one": one, "both": credit(m, "both", 7, give=m["give"], take=m["take_both"], initial=1)}

    top, draw = build({"give": 2, "take_one": 1, "take_both": 1}, {"one": 1, "both": 1}, body), random.Random(3)
    count, counts = 2, [1, 1]
    for _ in range(400):
        top.evaluate()
        assert (top.peek("one"), top.peek("both")) == (count > 0, min(counts) > 0)
        gives = [int(max(count, *counts) < 7 and draw.random() < 0.5) for _ in range(2)]
        take_one, take_both = (int(there and draw.random() < 0.6) for there in (count > 0, min(counts) > 0))
        top.poke("give", gives[0] | gives[1] << 1)
        top.poke("take_one", take_one)
        top.poke("take_both", take_both)
        top.cycle()
        count += gives[0] - take_one
        counts = [old + given - take_both for old, given in zip(counts, gives, strict=True)]


def test_registers_in_a_row_and_counter() -> None:
    def body(m: Module) -> dict[str, Signal]:
        last = m["limit"]
        count = m.state(3, "probe", reset=5)
        count.set(count.signal, const(0, 1))
        counted = m.counter(3, "counted", step=m["step"], last=last)
        return {"late": m.reg(m["d"], "late", cycles=3, reset=0), "counted": counted, "held": count.signal}

    inputs = {"d": 4, "step": 1, "limit": 1}
    top = build(inputs, {"late": 4, "counted": 3, "held": 3}, body)
    for i in range(8):
        top.poke("d", i + 1)
        top.evaluate()
        assert top.peek("late") == max(0, i - 2)
        top.cycle()
    assert top.peek("held") == 5
    seen = []
    for step, limit in ((1, 0), (1, 0), (0, 0), (1, 1), (1, 0)):
        for name, value in (("step", step), ("limit", limit)):
            top.poke(name, value)
        top.cycle()
        seen.append(top.peek("counted"))
    assert seen == [1, 2, 2, 0, 1]


def test_fields_are_packed_first_lowest() -> None:
    record = Fields(a=3, b=1, c=4)
    assert record.width == 8 and record.subset("a", "c").widths == {"a": 3, "c": 4}
    assert record.narrowed(c=2).widths == {"a": 3, "b": 1, "c": 2}

    def body(m: Module) -> dict[str, Signal]:
        fields = record.unpack(m["d"])
        return {**fields, "back": record.pack(**fields)}

    top = build({"d": 8}, {"a": 3, "b": 1, "c": 4, "back": 8}, body)
    top.poke("d", 0b1010_1_110)
    top.evaluate()
    assert [top.peek(name) for name in ("a", "b", "c", "back")] == [6, 1, 10, 0b10101110]
