"""The plan of a whole decoder: nothing is missing, nothing waits more than it must, and a broken plan is named."""

import itertools
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache, reduce
from pathlib import Path
from typing import Any

import pytest

from lutllm.errors import CapacityError, InputError, IRError
from lutllm.lowering.accelerator import SINKS
from lutllm.lowering.decoder_spec import DecoderSpec, read_decoder_spec
from lutllm.lowering.plan.check import verify_plan
from lutllm.lowering.plan.data import PROGRAMS, Parameters, Plan, Task
from lutllm.lowering.plan.decoder import config_for, plan_decoder
from lutllm.lowering.plan.waits import Hazards
from lutllm.lowering.targets import TARGETS
from lutllm.pretrained import save_pretrained
from lutllm.quantize.float_models import float_decoder
from lutllm.quantize.random_decoder import decoder_like, random_decoder
from lutllm.quantize.random_model import random_model
from lutllm.scheme import EXACT, Scheme

TINY = TARGETS["tiny"]
ONE = EXACT.with_(R=1)
ROUNDS = ONE.with_(G=16)  # blocks of 2 chunks: an accumulator of 16 words takes the outputs of two at 4 tokens
VQ = Scheme(c_a=8, act_bits=16)


@cache
def spec_of(kind: str = "plain") -> DecoderSpec:
    schemes: dict[str, Any] = {
        "plain": ONE,
        "norms": ONE,
        "rounds": ROUNDS,
        "mixed": lambda name: VQ if name.endswith(("gate_proj", "up_proj")) else ONE,
    }
    heads, head_dim = {"norms": (6, 10), "rounds": (4, 16)}.get(kind, (4, 12))
    decoder = decoder_like(layers=2, heads=heads, head_dim=head_dim, qk_norm=kind == "norms")
    return DecoderSpec.of(random_decoder(decoder, schemes[kind], positions=32))


@cache
def plan_of(kind: str = "plain", **changes: int) -> Plan:
    spec = spec_of(kind)
    config = config_for(spec, TINY)
    if kind == "rounds":
        config = replace(config, engine=replace(config.engine, acc_words=16))
    return plan_decoder(spec, replace(config, **changes))


def broken(message: str) -> AbstractContextManager:
    return pytest.raises(IRError, match=re.escape(f"error: {message}"))


def refused(message: str) -> AbstractContextManager:
    return pytest.raises(CapacityError, match=re.escape(f"error: {message}"))


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
        heads = f["kv_heads"] * f["items"] * f["reps"]
        caches = {("m", f[part] + g * f["head_stride"]) for part in ("keys", "values") for g in range(f["kv_heads"])}
        seen = heads * f["beats"] * config.head_lanes // config.lanes
        return words("q", f["q"], heads * f["beats"]) | caches, words("x", f["base"], seen)
    return set(), set()


@pytest.mark.parametrize("kind", ["plain", "norms", "rounds", "mixed"])
def test_tasks_wait_for_what_they_touch(kind: str) -> None:
    """Without names of buffers, from addresses alone."""
    plan = plan_of(kind)
    for program in PROGRAMS:
        tasks = plan.program(program)
        finished: set[int] = set()
        for i, task in enumerate(tasks):
            for engine, pending in task.waits:
                own = [k for k in range(i) if tasks[k].engine == engine]
                finished |= set(own[: len(own) - pending])
            reads, writes = touched(plan, task)
            for k in range(i):
                if k in finished or tasks[k].engine == task.engine:
                    continue
                before = touched(plan, tasks[k])
                assert not (before[1] & (reads | writes) or before[0] & writes), (tasks[k].name, task.name)
                for mine, theirs in ((reads, before[0]), (writes, before[1])):
                    ports = {m for m, _ in mine} & {m for m, _ in theirs} - {"m"}
                    assert not ports, (tasks[k].name, task.name, ports)
        for memory in "rxyq":
            addresses = [a for task in tasks for part in touched(plan, task) for m, a in part if m == memory]
            assert max(addresses, default=0) < getattr(plan.config, f"{memory}_words")


@pytest.mark.parametrize("kind", ["plain", "norms", "rounds", "mixed"])
def test_no_wait_is_idle(kind: str) -> None:
    plan = plan_of(kind)
    waiting = [i for i, task in enumerate(plan.tasks) if task.waits]
    assert len(waiting) > 20
    for i in waiting:
        task = plan.tasks[i]
        for slot, (engine, pending) in enumerate(task.waits):
            waits = [*task.waits]
            waits[slot] = (engine, pending + 1)
            with pytest.raises(IRError, match=f"task {task.name}: expected to wait for"):
                verify_plan(changed(plan, i, waits=tuple(waits)))


def hazard(earlier: tuple[Any, ...], later: tuple[Any, ...]) -> str | None:
    """Of two tasks, each (engine, reads, writes, fields)."""
    one, two = (Task("t", "prefill", e, "", f, r, w) for e, r, w, f in (earlier, later))
    return Hazards(plan_of().buffers).between(one, two)


def test_hazards() -> None:
    part = {"start": 4, "words": 2}
    assert hazard(("store", (), ("y.key",), {}), ("heads", ("y.key",), (), {})) == "y.key"
    assert hazard(("feed", ("x.seen",), (), {}), ("swiglu", (), ("x.inner",), {})) == "x.inner"  # they share words
    assert hazard(("feed", ("x.seen",), (), {}), ("norm", (), ("x.hidden",), {})) is None
    assert hazard(("heads", (), ("a.k",), {}), ("attention", ("a.k",), (), {})) == "a.k"
    assert hazard(("heads", (), ("a.k",), {}), ("heads", ("a.k",), (), {})) is None  # an engine's own order
    assert hazard(("store", (), ("y.gate",), part), ("swiglu", ("y.gate",), (), part)) == "y.gate"
    assert hazard(("store", (), ("y.gate",), part), ("swiglu", ("y.gate",), (), {"start": 6, "words": 2})) is None
    assert hazard(("heads", ("y.key",), (), {}), ("swiglu", ("y.gate",), (), {})) == "the read port of memory y"
    assert hazard(("norm", (), ("x.hidden",), {}), ("attention", (), ("x.seen",), {})) == "the write port of memory x"
    assert hazard(("linear", (), (), {"mode": 0}), ("linear", (), (), {"mode": 1})) == "its row source"
    assert hazard(("linear", (), (), {"mode": 1}), ("linear", (), (), {"mode": 1})) is None


def changed(plan: Plan, i: int, **changes: Any) -> Plan:
    """`plan` with changes to task `i`."""
    tasks = list(plan.tasks)
    tasks[i] = replace(tasks[i], **changes)
    return replace(plan, tasks=tuple(tasks))


def moved(plan: Plan, i: int, to: int) -> Plan:
    tasks = list(plan.tasks)
    tasks.insert(to, tasks.pop(i))
    return replace(plan, tasks=tuple(tasks))


def index(plan: Plan, end: str) -> int:
    """The first task whose name ends in `end`."""
    return next(i for i, task in enumerate(plan.tasks) if f".{task.name}".endswith(f".{end}"))


def fields(end: str, **values: int) -> Callable[[Plan], Plan]:
    def change(plan: Plan) -> Plan:
        i = index(plan, end)
        return changed(plan, i, fields=plan.tasks[i].fields | values)

    return change


def task(end: str, **values: Any) -> Callable[[Plan], Plan]:
    return lambda plan: changed(plan, index(plan, end), **values)


def buffer(name: str, **values: Any) -> Callable[[Plan], Plan]:
    return lambda plan: replace(plan, buffers=plan.buffers | {name: replace(plan.buffers[name], **values)})


def region(name: str, **values: Any) -> Callable[[Plan], Plan]:
    return lambda plan: replace(plan, regions=plan.regions | {name: replace(plan.regions[name], **values)})


def without(end: str) -> Callable[[Plan], Plan]:
    return lambda plan: replace(plan, tasks=tuple(t for i, t in enumerate(plan.tasks) if i != index(plan, end)))


def move(end: str, before: str) -> Callable[[Plan], Plan]:
    return lambda plan: moved(plan, index(plan, end), index(plan, before))


def both(*changes: Callable[[Plan], Plan]) -> Callable[[Plan], Plan]:
    return lambda plan: reduce(lambda plan, change: change(plan), changes, plan)


L0 = "model.layers.0"
OWN = f"{L0}.self_attn"
GATE, UP, DOWN = (f"{L0}.mlp.{name}_proj.0.0" for name in ("gate", "up", "down"))
NORM = f"prefill.{L0}.input_layernorm"
BREAKS: list[tuple[Callable[[Plan], Plan], str]] = [
    (
        task(NORM, waits=()),
        f"task {NORM}: expected to wait for prefill.model.embed_tokens.load, because of r.stream, got no wait; add it",
    ),
    (
        buffer("x.inner", base=0),
        f"task prefill.{UP}.swiglu: expected to wait for prefill.{GATE}.feed, because of x.inner, got no wait; add it",
    ),
    (
        buffer("y.query", base=0),
        f"task prefill.{OWN}.key: expected to wait for prefill.{OWN}.q_proj.0.0.store, because of y.key, got no wait",
    ),
    (buffer("y.gate", base=50), "buffer y.gate: expected to end within 128 words of memory y, got 130; enlarge it"),
    (buffer("y.gate", size=12), "buffer y.gate: expected room for 20 words of 4 tokens, got 12; enlarge it"),
    (without(f"{OWN}.key"), f"task prefill.{OWN}: expected {OWN}.k to hold word 0, got one not written; plan again"),
    (
        both(
            buffer("y.value", base=0),
            *(task(f"prefill.model.layers.{i}.self_attn.key", waits=(("store", 0),)) for i in (0, 1)),
        ),
        f"task prefill.{OWN}.key: expected y.key to hold word 0, got one not written; plan again",
    ),
    (region("rope.p", address=8), "region rope.p: expected address >= "),
    (fields(NORM, bits=300), f"task {NORM}: expected bits to fit 8 bits, got 300; plan again"),
    (fields(NORM, depth=1), f"task {NORM}: expected fields base, words, shift, bits, last, epsilon, got base"),
    (fields(f"{UP}.swiglu", words=21), f"task prefill.{UP}.swiglu: expected to end within 20 words of y.gate, got 21;"),
    (task(NORM, waits=(("residual", 0),) * 5), f"task {NORM}: expected at most 4 waits, got 5; plan again"),
    (
        task(NORM, waits=(("residual", 15),)),
        f"task {NORM}: expected to wait for 0..14 tasks of an engine, got 15 of residual; plan again",
    ),
    (task(NORM, reads=("r.torrent",)), f"task {NORM}: expected a buffer or KV cache r.torrent, got none; "),
    (task(NORM, reads=("rope.p",)), f"task {NORM}: expected a buffer or KV cache rope.p, got none; "),
    (
        task(NORM, parameters=Parameters("q", 3)),
        f"task {NORM}: expected a region of parameters q, got none; plan again",
    ),
    (
        task(NORM, parameters=Parameters("rope.p", 999)),
        f"task {NORM}: expected parameters within 2048 bytes of rope.p, got 15984; plan again",
    ),
    (
        task("rotations", parameters=Parameters("rope.p", 4, stride=65)),
        "task prefill.rotations: expected parameters within 2048 bytes of rope.p, got 2079; plan again",
    ),
    (fields(OWN, reps=2), f"task prefill.{OWN}: expected at most 128 scores, got 256; use fewer reps"),
    (fields(OWN, beats=3), f"task prefill.{OWN}: expected at most 8 sums, got 12; use fewer reps"),
    (task(f"{GATE}.linear", round="x"), f"task prefill.{GATE}.linear: expected a round, got 'x'; plan again"),
    (
        move(f"{GATE}.feed", f"{OWN}.o_proj.0.0.feed"),
        f"feeds: expected number 3 to be of round {OWN}.o_proj.0.0, got {GATE}; order them like their linears",
    ),
    (without(f"{UP}.swiglu"), f"sinks: expected number 5 to be of round {UP}, got {DOWN}; order them like their lin"),
    (
        without("embed_tokens.load"),
        "expected a residual task that loads for each embed task, got another number; plan again",
    ),
    (
        both(move(f"{OWN}.v_proj.0.0.linear", NORM), move(f"{OWN}.q_proj.0.0.linear", NORM)),
        f"task prefill.{OWN}.q_proj.0.0.linear: expected at most one linear ahead of a feed, got 2; dispatch it later",
    ),
    (
        task(f"{GATE}.feed", waits=(("linear", 0), ("norm", 0))),
        f"task prefill.{GATE}.feed: expected linear, feed and sink of prefill.{GATE}.linear before a wait for it, got "
        "a wait without end; dispatch them first",
    ),
    (
        task(NORM, writes=()),
        f"task prefill.{OWN}.k_proj.0.0.feed: expected x.hidden to hold word 0, got one not written; plan again",
    ),
    (
        fields(f"{GATE}.store", words=19),
        f"task prefill.{UP}.swiglu: expected y.gate to hold word 19, got one not written; plan again",
    ),
    (
        lambda plan: replace(plan, regions={k: v for k, v in plan.regions.items() if k != f"{OWN}.o_proj.c"}),
        f"task prefill.{OWN}.o_proj.0.0.linear: expected a region {OWN}.o_proj.c, got none; plan again",
    ),
    (
        lambda plan: replace(plan, config=replace(plan.config, engine=replace(plan.config.engine, acc_words=16))),
        f"task prefill.{OWN}.q_proj.0.0.linear: expected at most 16 words of sums, got 32; cut it into rounds",
    ),
]


@pytest.mark.parametrize("i", range(len(BREAKS)))
def test_broken_plans_are_named(i: int) -> None:
    change, message = BREAKS[i]
    verify_plan(plan_of())
    with broken(message):
        verify_plan(change(plan_of()))


@pytest.mark.parametrize("kind", ["plain", "norms", "rounds", "mixed"])
def test_every_round_has_a_linear_a_feed_and_a_sink(kind: str) -> None:
    plan, spec = plan_of(kind), spec_of(kind)
    for program in PROGRAMS:
        tasks = plan.program(program)
        linears = [t for t in tasks if t.engine == "linear"]
        wanted = [spec.decoder.head] if program == "head" else [n for n in spec.decoder.linears if n != "lm_head"]
        assert {t.source for t in linears} == set(wanted)
        for name in wanted:  # the rounds of a linear cover its outputs once, in order
            rounds = [plan.rounds[t.round] for t in linears if t.source == name]
            ends = [r.output_offset + r.outputs for r in rounds]
            assert [r.output_offset for r in rounds] == [0, *ends[:-1]]
            assert ends[-1] >= spec.linears[name].outputs
        for t in tasks:
            if t.engine in SINKS and "words" in t.fields and t.round:
                assert t.fields["words"] * plan.config.lanes == plan.rounds[t.round].chunks * plan.config.engine.lanes
                assert t.fields.get("start", 0) * plan.config.lanes == plan.rounds[t.round].output_offset * (
                    "start" in t.fields
                )
        assert all(t.single == (program == "head" and t.engine != "norm") for t in tasks)
    assert (len(plan.rounds) > len(spec.decoder.linears)) == (kind == "rounds")


def test_weights_are_fetched_one_linear_ahead() -> None:
    tasks = plan_of().program("prefill")
    order = [t.round for t in tasks if t.engine == "linear"]
    at = {(t.engine, t.round): i for i, t in enumerate(tasks)}
    for one, two in itertools.pairwise(order):
        assert at["linear", two] < at["feed", one]  # dispatched before what it follows has inputs
    assert tasks[0].engine == "linear"


def test_another_row_source_is_not_hoisted() -> None:
    tasks = plan_of("mixed").program("decode")
    at = {(t.engine, t.round): i for i, t in enumerate(tasks)}
    o, gate, up, down = (f"{L0}.{n}.0.0" for n in ("self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"))
    assert at["residual", o] < at["linear", gate] and at["swiglu", up] < at["linear", down]
    assert at["linear", up] < at["feed", gate]
    assert ("linear", 0) in tasks[at["linear", gate]].waits


def test_parameters_of_rounds_begin_where_their_words_do() -> None:
    plan = plan_of("rounds")
    tasks = [t for t in plan.program("prefill") if t.engine == "swiglu" and t.source == f"{L0}.mlp"]
    assert len(tasks) > 1
    for t in tasks:
        assert t.parameters is not None
        assert t.parameters.offset == t.fields["start"] * plan.config.p_bits // 8
        assert t.parameters.beats == t.fields["words"]


def attention(plan: Plan, program: str) -> tuple[int, int]:
    first = next(t for t in plan.program(program) if t.engine == "attention")
    return first.fields["items"], first.fields["reps"]


def test_scores_decide_how_many_heads_an_item_has() -> None:
    assert attention(plan_of("norms"), "prefill") == (3, 1)  # a head a time
    assert attention(plan_of("norms"), "decode") == (1, 3)  # the whole group
    tight = plan_of("plain", score_words=129)
    assert attention(tight, "decode") == (1, 2) and attention(tight, "prefill") == (2, 1)
    spec = spec_of()
    config = replace(config_for(spec, TINY), score_words=127)
    message = (
        "model.layers.0.self_attn: expected room for at least 128 scores, 4 tokens of a context of 32, and 8 sums, got "
        "score_words = 127 and item_words = 8; enlarge them, or use a shorter context or fewer tokens a pass"
    )
    with refused(message):
        plan_decoder(spec, config)
    assert plan_decoder(spec, config, context=31).context == 31


def test_sums_decide_how_many_heads_an_item_has() -> None:
    assert attention(plan_of("plain", item_words=16), "decode") == (1, 2)
    spec = spec_of()
    config = config_for(spec, TINY)
    assert config.item_words == 4 * 2  # tokens of a pass, beats of a head; 2 heads of a group in decode take no more
    with refused("model.layers.0.self_attn: expected room for at least 128 scores, 4 tokens of a context of 32, and 8"):
        plan_decoder(spec, replace(config, item_words=7))


@pytest.mark.parametrize("memory", ["r_words", "x_words", "y_words", "q_words", "head_words"])
def test_memories_are_just_large_enough(memory: str) -> None:
    spec = spec_of()
    config = config_for(spec, TINY)
    assert plan_decoder(spec, config).config is config
    needed = getattr(config, memory)
    less = needed - (2 if memory == "head_words" else 1)  # whole beats of a head
    message = (
        f"accelerator: expected {memory} of at least {needed} for this decoder and 4 tokens a pass, got {less}; enl"
    )
    with refused(message):
        plan_decoder(spec, replace(config, **{memory: less}))


def test_what_does_not_fit() -> None:
    spec = spec_of()
    config = config_for(spec, TINY)
    with refused(
        "expected a context of 1..32 tokens, as accelerator and RoPE tables allow, got 33; choose a shorter con"
    ):
        plan_decoder(spec, config, context=33)
    with pytest.raises(
        InputError, match="expected a row source among exact_row, built_row, built_table, stored_table, "
    ):
        plan_decoder(spec, config, row_source="any_row")
    with refused("memory map: expected at most 8192 bytes, got"):
        plan_decoder(spec, config, memory_bytes=8192)
    wide = replace(config, engine=replace(config.engine, acc_words=30))
    with refused(
        "model.layers.0.self_attn.q_proj: expected an accumulator of at least 32 words for 4 tokens of a block of"
    ):
        plan_decoder(spec, wide)
    far = {name: -80 for name in spec.residuals}
    message = (
        "model.layers.0.self_attn.o_proj: expected exponents at most 47 below and 16 above that of the residual stre"
    )
    with refused(message):
        plan_decoder(replace(spec, residuals=far), config)
    attentions = {name: replace(a, cache_bits=16) for name, a in spec.attentions.items()}
    with refused("model.layers.0.self_attn: expected a KV cache of 8 bits, got 16; quantize again"):
        plan_decoder(replace(spec, attentions=attentions), config)
    with pytest.raises(InputError, match=r"expected quantized parameters of 'model\.norm', got none"):
        plan_decoder(replace(spec, norms={n: v for n, v in spec.norms.items() if n != "model.norm"}), config)


def test_layers_have_one_shape() -> None:
    spec = spec_of()
    first, second = spec.decoder.layers
    other = replace(second, attention=replace(second.attention, heads=2, kv_heads=2))
    decoder = replace(spec.decoder, layers=(first, other))
    with refused("model.layers.1: expected layers of one shape, got"):
        config_for(replace(spec, decoder=decoder), TINY)


def test_the_store_describes_the_same_decoder(tmp_path: Path) -> None:
    model = random_model(float_decoder(layers=1), ONE, positions=16)
    save_pretrained(model, tmp_path)
    decoder = model.decoder
    assert read_decoder_spec(tmp_path).identity == DecoderSpec.of(decoder).identity
    other = replace(decoder, residuals={name: value + 1 for name, value in decoder.residuals.items()})
    assert DecoderSpec.of(other).identity != DecoderSpec.of(decoder).identity


def test_prefill_and_decode_share_weights() -> None:
    plan = plan_of("rounds")
    used = [{t.round for t in plan.program(program) if t.engine == "linear"} for program in ("prefill", "decode")]
    assert used[0] == used[1]
