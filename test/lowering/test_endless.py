"""Dispatches without end: what is said of a list of tasks beside a machine that runs it as far as it goes."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from lutllm.lowering.machine.engine import QUEUE, ROUNDS_AHEAD
from lutllm.lowering.schedule.data import Parameters, Task
from lutllm.lowering.schedule.endless import endless

SINKS = ("store", "residual", "swiglu")
Waits = tuple[tuple[str, int], ...]


def task(name: str, engine: str, round_: str = "", waits: Waits = (), load: int = 0) -> Task:
    parameters = Parameters("p", 1) if engine in ("swiglu", "norm", "heads") else None
    fields = {"load": load} if engine == "residual" else {}
    return Task(name, "prefill", engine, name, "", fields, waits=waits, parameters=parameters, round=round_)


@st.composite
def programs(draw: st.DrawFn) -> list[Task]:
    """Rounds whose linears, feeds and sinks come in one order each, anyhow among each other; others in between."""
    rounds = draw(st.integers(1, 6))
    sinks = [task(f"s{i}", draw(st.sampled_from(SINKS)), f"r{i}") for i in range(rounds)]
    linears, feeds = ([task(f"{e}{i}", e, f"r{i}") for i in range(rounds)] for e in ("linear", "feed"))
    others = [task(f"o{i}", draw(st.sampled_from(("norm", "heads")))) for i in range(draw(st.integers(0, 3)))]
    lines = [linears, feeds, sinks, others]
    if draw(st.booleans()):
        lines += [[task("e", "embed")], [task("l", "residual", load=1)]]
    found: list[Task] = []
    while any(lines):
        line = draw(st.sampled_from([line for line in lines if line]))
        nearest = min((line for line in lines[:3] if line), key=lambda line: int(line[0].round[1:]), default=line)
        if draw(st.integers(0, 2)):  # often in an order that works
            line = nearest
        each = line.pop(0)
        engines = sorted({t.engine for t in found})
        if engines and draw(st.integers(0, 3)) == 0:
            waits = ((draw(st.sampled_from(engines)), draw(st.integers(0, 2))),)
            each = task(each.name, each.engine, each.round, waits, each.fields.get("load", 0))
        found.append(each)
    return found


def goes_on(tasks: list[Task]) -> bool:
    """Whether a machine gets to the end. The ends of a stream are done together, once each is the first of its engine,
    of stream p and of stream y."""
    dispatched, done = 0, set[int]()
    ends: dict[tuple[str, ...], list[int]] = defaultdict(list)
    count: dict[str, int] = defaultdict(int)
    for i, t in enumerate(tasks):
        kind = "e" if t.engine == "embed" or t.fields.get("load") else "y" if t.round else f"alone {i}"
        role = t.engine if t.engine in ("linear", "feed", "embed") else "sink"
        ends[kind, str(count[kind + role])].append(i)
        count[kind + role] += 1

    def unfinished(engine: str) -> int:
        return sum(tasks[k].engine == engine and k not in done for k in range(dispatched))

    def first(i: int) -> bool:
        t = tasks[i]
        before = [tasks[k] for k in range(i) if k not in done]
        takes_y = bool(t.round) and t.engine in SINKS
        return i < dispatched and not any(
            b.engine == t.engine or (b.parameters and t.parameters) or (takes_y and b.round and b.engine in SINKS)
            for b in before
        )

    while True:
        moved = False
        if dispatched < len(tasks):
            t = tasks[dispatched]
            room = ROUNDS_AHEAD if t.engine == "linear" else QUEUE
            if unfinished(t.engine) <= room and all(unfinished(e) <= pending for e, pending in t.waits):
                dispatched, moved = dispatched + 1, True
        for group in ends.values():
            if not set(group) <= done and all(map(first, group)):
                done |= set(group)
                moved = True
        if not moved:
            return len(done) == len(tasks)


@settings(max_examples=400)
@given(programs())
def test_a_list_is_endless_exactly_if_a_machine_hangs(tasks: list[Task]) -> None:
    found = [message for _, message in endless(tasks)]
    whole = goes_on(tasks)
    assert bool(found) == (not whole), found


def test_both_happen() -> None:
    good = [task("linear0", "linear", "r0"), task("feed0", "feed", "r0"), task("s0", "store", "r0")]
    assert goes_on(good) and not list(endless(good))
    waits = [good[0], task("feed0", "feed", "r0", (("linear", 0),)), good[2]]
    assert not goes_on(waits)
    ((found, message),) = endless(waits)
    assert found is waits[1] and message == (
        "expected s0 before it, without which linear0, which it waits for, has no end, got it later; dispatch it first"
    )
    rounds = range(ROUNDS_AHEAD + 2)
    many = [task(f"linear{i}", "linear", f"r{i}") for i in rounds]
    many += [task(f"{e}{i}", n, f"r{i}") for i in rounds for e, n in (("feed", "feed"), ("s", "store"))]
    assert not goes_on(many)  # it has room for one less
    assert [t.name for t, _ in endless(many)] == [f"linear{rounds[-1]}"]
