"""The schedule of a whole decoder: nothing is missing, nothing waits more than it must, nothing is larger than it must
be."""

import re
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from lutllm import dialect
from lutllm.accelerator.hardware import PASSES, copy_of
from lutllm.bindings import ir
from lutllm.errors import LutllmError
from lutllm.lowering import pipelines
from lutllm.lowering.machine.accelerator import SINKS
from lutllm.lowering.machine.engine import ROUNDS_AHEAD
from lutllm.lowering.place.buffers import Buffer
from lutllm.lowering.schedule import check
from lutllm.lowering.schedule.check import problems
from lutllm.lowering.schedule.data import Plan, Task
from lutllm.lowering.schedule.read import read_plan
from lutllm.lowering.schedule.waits import Hazards, needed
from lutllm.passes import run_pipeline
from lutllm.passes.lut_outline_head import HEAD
from lutllm.passes.walk import ops_in
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import EXACT, Scheme

ONE = EXACT.with_(R=1)
ROUNDS = ONE.with_(G=16)  # blocks of 2 chunks: an accumulator of 16 words takes the outputs of two at 4 tokens
VQ = Scheme(c_a=8, act_bits=16)
KINDS = ("plain", "norms", "rounds", "mixed")
PROGRAMS = ("prefill", "decode", HEAD)
L0 = "model.layers.0"


@cache
def placed(kind: str = "plain") -> ir.Module:
    """A decoder's clusters on a machine of target `tiny`."""
    schemes: dict[str, Any] = {
        "plain": ONE,
        "norms": ONE,
        "rounds": ROUNDS,
        "mixed": lambda name: VQ if name.endswith(("gate_proj", "up_proj")) else ONE,
    }
    heads, head_dim = {"norms": (6, 10), "rounds": (4, 16)}.get(kind, (4, 12))
    model = float_decoder(layers=2, heads=heads, head_dim=head_dim, qk_norm=kind == "norms")
    module = random_model(model, schemes[kind], positions=32).lut()
    run_pipeline(
        module, pipelines.joined(pipelines.to_steps(), "builtin.module(lut-place{target=tiny})"), passes=PASSES
    )
    if kind == "rounds":
        change(module, acc_words=16)
    return module


def change(module: ir.Module, **sizes: int) -> None:
    """Other sizes of the machine, by attribute."""
    for op in (*ops_in(module.operation, dialect.MachineOp), *ops_in(module.operation, dialect.LinearEngineOp)):
        with module.context:
            for name in set(sizes) & set(op.required()):
                op.attributes[name] = dialect.i64(sizes[name])


def scheduled(kind: str = "plain", memories: dict[str, int] | None = None, **sizes: int) -> ir.Module:
    module = copy_of(placed(kind))
    change(module, **sizes)
    (machine,) = ops_in(module.operation, dialect.MachineOp)
    with module.context, ir.Location.unknown(), ir.InsertionPoint(machine.operation.regions[0].blocks[0]):
        for name, words in (memories or {}).items():
            ir.Operation.create(
                "lut.memory", attributes={"sym_name": ir.StringAttr.get(name), "words": dialect.i64(words)}
            )
    passes = [p for p in (*pipelines.PLACES, *pipelines.TIMES) if p != "lut-size-streams"]  # which tests do not need
    run_pipeline(module, f"builtin.module({','.join(passes)})", passes=PASSES)
    return module


@cache
def plan_of(kind: str = "plain", **sizes: int) -> Plan:
    return read_plan(scheduled(kind, **sizes))


def refused(message: str, **sizes: Any) -> None:
    with pytest.raises(LutllmError, match=re.escape(message)):
        scheduled(**sizes)


def test_a_plan_is_the_same_from_text() -> None:
    module = scheduled()
    assert read_plan(copy_of(module)) == plan_of() == read_plan(module)
    assert "lut.task" in dialect.module_text(module)


Words = set[tuple[str, int]]


def touched(plan: Plan, task: Task) -> tuple[Words, Words]:
    """The (memory, address) a task reads and writes at most, from what hardware sees of it: its fields."""
    f, config = task.fields, plan.config
    tokens = plan.tokens(task.program)

    def words(memory: str, base: int, count: int, start: int = 0) -> Words:
        return {(memory, base + w * tokens + t) for w in range(start, start + count) for t in range(tokens)}

    start, count = f.get("start", 0), f.get("words", 0)
    if task.engine == "feed":
        channels = f["groups"] * 2 * config.engine.pairs
        return words("x", f["base"], -(-channels // config.lanes)), set()
    if task.engine == "norm":
        return words("r", 0, count), words("x", f["base"], count)
    if task.engine == "residual":
        own = words("r", 0, count, start)
        return (set() if f["load"] else own), own
    if task.engine == "store":
        return set(), words("y", f["base"], count, start)
    if task.engine == "swiglu":
        return words("y", f["gate"], count, start), words("x", f["base"], count, start)
    if task.engine == "heads" and f["heads"]:
        read = words("y", f["source"], f["heads"] * f["head_words"])
        channels = f["head_words"] * config.lanes
        if f["address"]:
            return read, {("m", f["address"] + head * f["head_stride"]) for head in range(f["heads"])}
        return read, words("q", f["base"], f["heads"] * channels // config.head_lanes)
    if task.engine == "attention":
        kv_heads = f["kv_heads"] * config.attention_units
        heads = kv_heads * f["items"] * config.attention_ways * f["reps"]
        caches = {("m", f[part] + g * f["head_stride"]) for part in ("keys", "values") for g in range(kv_heads)}
        seen = heads * f["beats"] * config.head_lanes // config.lanes
        return words("q", f["q"], heads * f["beats"]) | caches, words("x", f["base"], seen)
    return set(), set()


@pytest.mark.parametrize("kind", KINDS)
def test_tasks_wait_for_what_they_touch(kind: str) -> None:
    """Without names of buffers, from addresses alone."""
    plan = plan_of(kind)
    for program in PROGRAMS:
        tasks = plan.program(program)
        finished: set[int] = set()
        written: list[int] = []  # words of memory x, in order, that no feed has taken
        there: set[tuple[str, int]] = set()  # those taken
        for i, task in enumerate(tasks):
            for engine, pending in task.waits:
                own = [k for k in range(i) if tasks[k].engine == engine]
                finished |= set(own[: len(own) - pending])
            reads, writes = touched(plan, task)
            written += sorted(a for m, a in writes if m == "x")
            there -= writes
            if task.fields.get("takes"):
                taken, written = written[: len(reads)], written[len(reads) :]
                there |= {("x", address) for address in taken}
            for k in range(i):
                if k in finished or tasks[k].engine == task.engine:
                    continue
                before = touched(plan, tasks[k])
                if task.engine == "feed" and before[1] & reads <= there:
                    continue  # followed word by word
                assert not (before[1] & (reads | writes) or before[0] & writes), (tasks[k].name, task.name)
                for mine, theirs in ((reads, before[0]), (writes, before[1])):
                    ports = {m for m, _ in mine} & {m for m, _ in theirs} - {"m"}
                    assert not ports, (tasks[k].name, task.name, ports)
        assert not written
        for memory in "rxyq":
            addresses = [a for task in tasks for part in touched(plan, task) for m, a in part if m == memory]
            assert max(addresses, default=0) < getattr(plan.config, f"{memory}_words")


@pytest.mark.parametrize("kind", KINDS)
def test_no_wait_is_idle(kind: str) -> None:
    plan = plan_of(kind)
    waiting = [i for i, task in enumerate(plan.tasks) if task.waits]
    assert len(waiting) > 20 and not list(problems(plan))
    for i in waiting:
        task = plan.tasks[i]
        for slot, (engine, pending) in enumerate(task.waits):
            waits = [*task.waits]
            waits[slot] = (engine, pending + 1)
            tasks = (*plan.tasks[:i], replace(task, waits=tuple(waits)), *plan.tasks[i + 1 :])
            _, message = next(problems(replace(plan, tasks=tasks)))
            assert message.startswith(f"task {task.name}: expected to wait for"), message


def two_loads(*feeds: tuple[str, int]) -> list[Task]:
    """Results a and b loaded, then feeds of them: (result, takes)."""
    tasks = [Task(f"{x}.load", "prefill", "load", x, "", {}, (), (f"x.{x}",)) for x in "ab"]
    for i, (x, takes) in enumerate(feeds):
        fields = {"takes": takes}
        tasks.append(Task(f"{i}.feed", "prefill", "feed", f"{i}", "", fields, (f"x.{x}",), values={f"x.{x}": x}))
    return tasks


@pytest.mark.parametrize(
    ("feeds", "waits"),
    [
        ([("a", 1), ("b", 1)], [[], []]),  # each follows who writes its words
        ([("a", 1), ("a", 0), ("b", 1)], [[], [], []]),  # a feed after the one that took them finds them there
        ([("b", 1), ("a", 1)], [["b.load"], []]),  # the words of a come first, so b must be there, and a is then, too
        ([("a", 0), ("a", 1), ("b", 1)], [["a.load"], [], []]),
    ],
)
def test_feeds_follow_in_the_order_of_writing(feeds: list[tuple[str, int]], waits: list[list[str]]) -> None:
    tasks = two_loads(*feeds)
    buffers = {f"x.{x}": Buffer("x", 16 * i, 4, 16) for i, x in enumerate("ab")}
    found = [[tasks[k].name for k in after] for after in needed(tasks, buffers)]
    assert found == [[], [], *waits]


def test_every_result_is_taken() -> None:
    plan = plan_of()
    tasks = [replace(t, fields=t.fields | ({"takes": 0} if t.engine == "feed" else {})) for t in plan.program("head")]
    (task, message) = next(check._stream_problems(tasks))
    assert task is not None and task.engine == "norm"
    assert message.endswith("expected a linear that takes its result, got none; remove its cluster")


def hazard(earlier: tuple[Any, ...], later: tuple[Any, ...]) -> str | None:
    """Of two tasks, each (engine, reads, writes, fields)."""
    one, two = (Task("t", "prefill", e, "", "", f, r, w) for e, r, w, f in (earlier, later))
    return Hazards(plan_of().buffers).between(one, two)


def test_hazards() -> None:
    part = {"start": 4, "words": 2}
    assert {"y0_8", "y0_20", "x0_12", "x0_16", "x48_20"} <= set(plan_of().buffers)
    assert hazard(("store", (), ("y0_8",), {}), ("heads", ("y0_8",), (), {})) == "y0_8"
    assert hazard(("feed", ("x0_16",), (), {}), ("swiglu", (), ("x48_20",), {})) == "x48_20"  # they share words
    assert hazard(("feed", ("x48_20",), (), {}), ("norm", (), ("x0_12",), {})) is None
    assert hazard(("heads", (), ("a.k",), {}), ("attention", ("a.k",), (), {})) == "a.k"
    assert hazard(("heads", (), ("a.k",), {}), ("heads", ("a.k",), (), {})) is None  # an engine's own order
    assert hazard(("store", (), ("y0_20",), part), ("swiglu", ("y0_20",), (), part)) == "y0_20"
    assert hazard(("store", (), ("y0_20",), part), ("swiglu", ("y0_20",), (), {"start": 6, "words": 2})) is None
    assert hazard(("heads", ("y32_8",), (), {}), ("swiglu", ("y0_20",), (), {})) == "the read port of memory y"
    assert hazard(("norm", (), ("x0_12",), {}), ("attention", (), ("x48_20",), {})) == "the write port of memory x"
    assert hazard(("linear", (), (), {"mode": 0}), ("linear", (), (), {"mode": 1})) == "its row source"
    assert hazard(("linear", (), (), {"mode": 1}), ("linear", (), (), {"mode": 1})) is None


@pytest.mark.parametrize("kind", KINDS)
def test_every_round_has_a_linear_a_feed_and_a_sink(kind: str) -> None:
    plan = plan_of(kind)
    names = [op.weights.value for op in ops_in(placed(kind).operation, dialect.TableLookupOp)]
    for program in PROGRAMS:
        tasks = plan.program(program)
        linears = [t for t in tasks if t.engine == "linear"]
        wanted = {name for name in names if (name == "lm_head") == (program == HEAD)}
        assert {plan.rounds[t.round].linear for t in linears} == wanted
        for name in wanted:  # the rounds of a linear cover its outputs once, in order
            rounds = [plan.rounds[t.round] for t in linears if plan.rounds[t.round].linear == name]
            ends = [r.first + r.outputs for r in rounds]
            label = next(t.cluster for t in linears if plan.rounds[t.round].linear == name)
            assert [r.first for r in rounds] == [0, *ends[:-1]] and ends[-1] == plan.works[program, label].layout.size
        for t in tasks:
            if t.engine in SINKS and t.round:
                assert t.fields["words"] * plan.config.lanes == plan.rounds[t.round].outputs
                assert t.fields.get("start", t.fields.get("offset", 0) // plan.config.lanes) == (
                    plan.rounds[t.round].first // plan.config.lanes
                )
        assert all(t.single == (program == HEAD and t.engine != "norm") for t in tasks)
    assert (len(plan.rounds) > len(set(names))) == (kind == "rounds")


def places(tasks: tuple[Task, ...]) -> dict[tuple[str, str], int]:
    return {(t.engine, t.round): i for i, t in enumerate(tasks)}


def test_weights_are_asked_for_before_earlier_inputs_are_there() -> None:
    tasks = plan_of().program("prefill")
    at, order = places(tasks), [t.round for t in tasks if t.engine == "linear"]
    assert len(order) > ROUNDS_AHEAD + 2
    for i, own in enumerate(order):
        first = max(i - ROUNDS_AHEAD + 1, i // 2)  # as many ahead as are held, but two more a feed
        assert (at["linear", own] < at["feed", order[first]]) and (
            first == 0 or at["linear", own] > at["feed", order[first - 1]]
        )
    assert tasks[0].engine == "linear"


def test_another_row_source_is_not_hoisted() -> None:
    tasks = plan_of("mixed").program("decode")
    at = places(tasks)
    o, gate, up, down = (f"{L0}.{n}.0" for n in ("self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"))
    assert at["residual", o] < at["linear", gate] and at["swiglu", up] < at["linear", down]
    assert at["linear", up] < at["feed", gate]
    assert ("linear", 0) in tasks[at["linear", gate]].waits


def test_parameters_of_rounds_begin_where_their_words_do() -> None:
    plan = plan_of("rounds")
    tasks = [t for t in plan.program("prefill") if t.engine == "swiglu" and t.cluster == f"{L0}.mlp.up_proj"]
    assert len(tasks) > 1
    for t in tasks:
        assert t.parameters is not None
        assert t.parameters.offset == t.fields["start"] * plan.config.p_bits // 8
        assert t.parameters.beats == t.fields["words"]


def attention(plan: Plan, program: str) -> tuple[int, int]:
    first = next(t for t in plan.program(program) if t.engine == "attention")
    return first.fields["items"], first.fields["reps"]


def test_scores_and_sums_decide_how_many_heads_an_item_has() -> None:
    assert attention(plan_of("norms"), "prefill") == (3, 1)  # a head a time
    assert attention(plan_of("norms"), "decode") == (1, 3)  # the whole group
    tight = plan_of("plain", score_words=129)
    assert attention(tight, "decode") == (1, 2) and attention(tight, "prefill") == (2, 1)
    refused("expected room for at least 128 scores, 4 tokens of a context of 32, and 8 sums, got", score_words=127)
    assert plan_of().config.item_words == 4 * 2  # tokens of a pass, beats of a head; a group in decode takes no more
    refused("expected room for at least 128 scores, 4 tokens of a context of 32, and 8 sums", item_words=7)


@pytest.mark.parametrize(("units", "program"), [(1, "prefill"), (2, "prefill"), (2, "decode")])
def test_a_feed_waits_for_units_that_write_heads_in_turn(units: int, program: str) -> None:
    """With two items of a KV head, another unit's item is written between them; a feed follows words in their order."""
    plan = plan_of("plain", attention_units=units)
    feed = next(t for t in plan.program(program) if t.engine == "feed" and t.cluster.endswith("o_proj"))
    assert attention(plan, program)[0] == (2 if program == "prefill" else 1)
    assert (("attention", 0) in feed.waits) == (units == 2 and program == "prefill")


@pytest.mark.parametrize("memory", ["r", "x", "y", "q"])
def test_memories_are_just_large_enough(memory: str) -> None:
    needed = getattr(plan_of().config, f"{memory}_words")
    assert read_plan(scheduled(memories={memory: needed})) == plan_of()
    message = f"expected a memory {memory} of at least {needed} words, got {needed - 1}; enlarge it"
    refused(message, memories={memory: needed - 1})


def test_what_does_not_fit() -> None:
    refused("memory map: expected at most 8192 bytes, got", memory_bytes=8192)
    refused("q_proj: expected an accumulator of at least 32 words for 4 tokens of a block of", acc_words=30)
    refused("expected KV heads for each of 4 attention units alike, got 2; change attention_units", attention_units=4)
    refused("expected heads of at most 2 words, got 4; enlarge head_words", head_words=2)
    refused("expected a machine with a context of at least 32, as KV caches have, got 31; enlarge it", context=31)


def test_tables_of_rope_may_be_shorter_than_caches() -> None:
    """As long as no position is reached that they do not have."""
    text = dialect.module_text(placed()).replace("positions = 32", "positions = 31")
    text = text.replace("tensor<32x6xi16>", "tensor<31x6xi16>")
    with dialect.context(), ir.Location.unknown():
        module = ir.Module.parse(text)
    rest = pipelines.joined(f"builtin.module({','.join(pipelines.PLACES)})", pipelines.to_schedule())
    with pytest.raises(
        LutllmError, match=r"expected parameters within 1984 bytes of rope\.p, got 2048; allocate again"
    ):
        run_pipeline(module, rest, passes=PASSES)


def test_rounds_of_a_sum_follow_each_other() -> None:
    """Engine residual adds up the squares of one cluster at a time."""

    def computed(cluster: str, start: int) -> list[Task]:
        name = f"{cluster}.{start}"
        fields = {"linear": {}, "feed": {"takes": 0}, "residual": {"start": start, "words": 2, "load": 0}}
        return [Task(f"{name}.{e}", "prefill", e, cluster, "", fields[e], round=name) for e in fields]

    whole = [*computed("a", 0), *computed("a", 2), *computed("b", 0), *computed("b", 2)]
    assert not list(check._stream_problems(whole))
    mixed = [*computed("a", 0), *computed("b", 0), *computed("a", 2), *computed("b", 2)]
    ((task, message), _) = check._stream_problems(mixed)
    assert (task, message) == (
        mixed[8],
        "expected it right after the round before it, got it after b; order its linears",
    )
