"""Places edited by hand: clusters, layouts, buffers, regions, rounds, machines that cannot work are named at the op."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from lutllm import dialect
from lutllm.accelerator.hardware import PASSES, copy_of
from lutllm.bindings import ir
from lutllm.errors import LutllmError
from lutllm.lowering.place import chains
from lutllm.lowering.place.clusters import Cluster
from lutllm.passes import run_pipeline
from lutllm.passes.walk import ops_in

Edit = Callable[[Any], Any]
L0, L1 = "model.layers.0", "model.layers.1"
OWN, MLP = f"{L0}.self_attn", f"{L0}.mlp"
NORM = f"{OWN}.q_proj.input"
TASK, CLUSTER = '"lut.task"', '"lut.cluster"()'


def change(*parts: str, old: str, new: str, of: str = "") -> Edit:
    return lambda text: text.change(*parts, old=old, new=new, of=of)


def everywhere(old: str, new: str) -> Edit:
    return lambda text: text.everywhere(old, new)


def cluster(label: str, old: str, new: str, of: str = "prefill") -> Edit:
    """In the attributes of a cluster."""
    return change("}) {", f'label = "{label}"', old=old, new=new, of=of)


def named(name: str, old: str, new: str) -> Edit:
    """In the op of a symbol."""
    return change(f'sym_name = "{name}"', old=old, new=new)


def both(*edits: Edit) -> Edit:
    def edit(text: Any) -> Any:
        for each in edits:
            text = each(text)
        return text

    return edit


def without(label: str, engine: str, round_: int | None = None, of: str = "prefill") -> Edit:
    """Without a task, and without its token."""

    def edit(text: Any) -> Any:
        i = text.task(label, engine, round_, of)
        token = text.token(i)
        text.drop(i)
        for k, line in enumerate(text.lines):
            if TASK in line and re.search(rf"{token}[,)]", line):
                others = [t for t in re.findall(r"%\w+", line.split("(")[1].split(")")[0])[1:] if t != token]
                text.waits(k, *others)
        return text

    return edit


LAYOUTS: dict[str, tuple[Edit, str, str]] = {
    "a layout of other channels": (
        cluster(f"{MLP}.gate_proj", "@c40_b16_p8", "@c32_b16_p8"),
        "'lut.cluster' op expected a layout of 40 channels, got one of 32; name another",
        CLUSTER,
    ),
    "another order of channels": (
        cluster(NORM, "@c32_b16_p8", "@c32_i16_16_b16_p8"),
        "'lut.cluster' op expected the layout of what it reads, c32_b16_p8, got c32_i16_16_b16_p8; use one for both",
        CLUSTER,
    ),
    "blocks of another linear": (
        everywhere("block = 16, channels = 40", "block = 40, channels = 40"),
        "'lut.cluster' op expected blocks of 16 channels, as its codebooks have, got 40; change the layout",
        CLUSTER,
    ),
    "parts of chunks": (
        named("c40_b16_p8", "pad = 8", "pad = 20"),
        "'lut.cluster' op expected blocks of whole chunks of 8 places, got 20; change its pad",
        CLUSTER,
    ),
    "parts of words": (
        named("c32_b16_p8", "pad = 8", "pad = 17"),
        "'lut.cluster' op expected blocks of whole words of 4 places, got 17; change its pad",
        CLUSTER,
    ),
    "padding that counts": (
        named("c32_b16_p8", "repeat = 0", "repeat = 1"),
        "'lut.cluster' op expected padding of zeros, got the last channel repeated; change repeat",
        CLUSTER,
    ),
    "padding that may win": (
        named("c160_b16_p8_r", "pad = 8, repeat = 1", "pad = 24, repeat = 0"),
        "'lut.cluster' op expected logits in order, then the last one repeated, got another layout; change it",
        CLUSTER,
    ),
    "logits in another order": (
        named("c160_b16_p8_r", "pad = 8", "pad = 24"),
        "'lut.cluster' op expected logits in order, then the last one repeated, got another layout; change it",
        CLUSTER,
    ),
    "heads that RoPE does not find": (
        both(
            cluster(f"{OWN}.k_proj", "@c16_i16_16_p8", "@c16_u16_16_p8"),
            cluster(f"{OWN}.k_proj.heads", "@c16_i16_16_p8", "@c16_u16_16_p8"),
        ),
        "'lut.cluster' op expected interleaved = 16, as RoPE wants heads, got 0; change the layout",
        CLUSTER,
    ),
    "torn pairs": (
        both(
            cluster(f"{OWN}.v_proj", "@c16_u16_16_p8", "@c16_i16_16_p8"),
            cluster(f"{OWN}.v_proj.heads", "@c16_u16_16_p8", "@c16_i16_16_p8"),
        ),
        "'lut.cluster' op expected interleaved = 0, as RoPE wants heads, got 16; change the layout",
        CLUSTER,
    ),
    "torn pairs of a linear": (
        named("c32_u16_16_p4", "interleaved = 0", "interleaved = 16"),
        "'lut.cluster' op expected interleaved = 0, as RoPE wants heads, got 16; change the layout",
        CLUSTER,
    ),
    "heads of other sizes": (
        named("c32_u16_16_p4", "unit_size = 16", "unit_size = 24"),
        "'lut.cluster' op expected heads of 16 places, as it reads, got 24; use one size",
        CLUSTER,
    ),
    "padding behind heads": (
        named("c32_u16_16_p4", "pad = 4", "pad = 24"),
        "'lut.cluster' op expected heads without padding behind them, got 16 places; change its pad",
        CLUSTER,
    ),
    "no heads": (
        named("c32_u16_16_p4", "unit = 16, unit_size = 16", "unit = 8, unit_size = 8"),
        "'lut.cluster' op expected units of 16 channels, a head, got 8; change the layout",
        CLUSTER,
    ),
    "a stream that decode does not return": (
        lambda text: _keeps_its_stream(text),
        "'func.func' op expected result 0 of every other function, laid out alike, for argument 0 of @head, got",
        "func.func @head",
    ),
}
EDITS = LAYOUTS | {
    # Of the form of the level.
    "an engine that cannot": (
        cluster(NORM, '["norm"]', '["heads"]'),
        "'lut.rms_norm' op expected operand 0 in memory y, which its engine reads, got it in memory r",
        '"lut.rms_norm"',
    ),
    "a sink that cannot": (
        cluster(f"{OWN}.o_proj", '"residual"', '"store"'),
        "'lut.add' op expected 'lut.slice' here on engines feed, linear, store, got it",
        '"lut.add"',
    ),
    "another position": (
        both(everywhere("%arg1: tensor<1xi32>,", "%arg1: tensor<1xi32>, %other: tensor<1xi32>,"),
             change('"lut.rope"', old="%arg1", new="%other", of="decode")),
        "expected the position of the pass, one argument of the function, got another value; change operand 2",
        '"lut.append"',
    ),
    "caches returned in another order": (
        lambda text: _swap_returned(text),
        "'func.return' op expected the KV caches of arguments [2, 3, 4, 5] in this order, got [3, 2, 4, 5]",
        "return",
    ),
    # Of places on chip.
    "a buffer of another memory": (
        cluster(f"{MLP}.gate_proj", "@y0_10", "@x32_10"),
        "'lut.cluster' op expected a buffer of 10 words in memory y, as engine store writes, got 10 in x; "
        "allocate again",
        CLUSTER,
    ),
    "a buffer of fewer words": (
        named("y0_10", "words = 10", "words = 9"),
        "'lut.cluster' op expected a buffer of 10 words in memory y, as engine store writes, got 9 in y; "
        "allocate again",
        CLUSTER,
    ),
    "a stream that is elsewhere": (
        named("r0_8", "base = 0", "base = 4"),
        "'lut.cluster' op expected the residual stream at base 0 of memory r, where engines look for it, got 4",
        CLUSTER,
    ),
    "a buffer of fewer tokens": (
        named("y0_10", "size = 40", "size = 39"),
        "buffer y0_10: expected room for 10 words of 4 tokens, got 39; enlarge it",
        "",
    ),
    "a buffer beyond its memory": (
        named("x32_10", "base = 32", "base = 33"),
        "buffer x32_10: expected to end within 72 words of memory x, got 73; enlarge it",
        "",
    ),
    "buffers that overlap while one is read": (
        named("y16_4", "base = 16", "base = 12"),
        f"task prefill.{OWN}.k_proj.heads: expected to wait for prefill.{OWN}.v_proj.0.store, because of "
        f"y0_4, got no wait",
        TASK,
    ),
    "buffers that overlap": (
        lambda text: _queries_over_keys(text),
        f"task prefill.{OWN}.k_proj.heads: expected y0_4 to hold the result of {OWN}.k_proj in word 0, got "
        f"that of {OWN}.q_",
        TASK,
    ),
    # Of memory.
    "a region too small": (
        named(f"{OWN}.k_proj.k", "bytes = 320", "bytes = 319"),
        f"expected a region @{OWN}.k_proj.k of 320 bytes of kind k, got 319 of kind k; allocate again",
        CLUSTER,
    ),
    "keys where values are": (
        both(*(change(f"func.func @{f}(", old=f"@{OWN}.k_proj.k", new=f"@{OWN}.v_proj.v")
               for f in ("prefill", "decode"))),
        f"expected a region @{OWN}.v_proj.v of 320 bytes of kind k, got 320 of kind v; allocate again",
        CLUSTER,
    ),
    "one cache for two layers": (
        both(*(change(f"func.func @{f}(", old=f"@{L1}.self_attn.k_proj.k", new=f"@{OWN}.k_proj.k")
               for f in ("prefill", "decode"))),
        f"expected the same contents of @{OWN}.k_proj.k as '{OWN}.k_proj.heads' has, got others; give it one "
        f"of its own",
        CLUSTER,
    ),
    "no cache": (
        change("func.func @decode(", old=f" {{lut.region = @{OWN}.k_proj.k}}", new=""),
        "'lut.cluster' op expected a lut.region at argument 2, its KV cache, got none; run lut-allocate",
        CLUSTER,
    ),
    "another cache in decode": (
        both(change("func.func @decode(", old=f"@{OWN}.k_proj.k", new="@swap"),
             change("func.func @decode(", old=f"@{L1}.self_attn.k_proj.k", new=f"@{OWN}.k_proj.k"),
             change("func.func @decode(", old="@swap", new=f"@{L1}.self_attn.k_proj.k")),
        "expected the same contents of",
        CLUSTER,
    ),
    "parameters of another cluster": (
        cluster(NORM, f"@{NORM}.p", f"@{L1}.self_attn.q_proj.input.p"),
        "expected the same contents of @",
        CLUSTER,
    ),
    "rows of RoPE for parameters": (
        cluster(NORM, f"@{NORM}.p", "@rope.p"),
        "expected a region @rope.p of 128 bytes of kind p, got 1280 of kind p; allocate again",
        CLUSTER,
    ),
    "weights of another round": (
        named(f"{MLP}.up_proj.0", f"@{MLP}.up_proj.0.w0", f"@{MLP}.gate_proj.0.w0"),
        f"expected the same contents of @{MLP}.gate_proj.0.w0 as '{MLP}.gate_proj' has, got others",
        CLUSTER,
    ),
    "a region that no beat begins at": (
        lambda text: _address(text, "lm_head.0.q", 4),
        "'lut.region' op expected an address of a multiple of 8 bytes, a beat of its port, got",
        '"lm_head.0.q"',
    ),
    "a region beyond memory": (
        named("head.d", "address = ", "address = 99"),
        "'lut.region' op expected to end within 16777216 bytes of memory, got 99",
        '"head.d"',
    ),
    "no header": (
        everywhere('"header"', '"cover"'),
        "expected a region @header at address 0 of 80 bytes of kind h beside it, got none; allocate again",
        "func.func @prefill",
    ),
    # Of rounds.
    "a round not at a block": (
        named(f"{MLP}.gate_proj.32", "first = 32", "first = 24"),
        f"'lut.round' op round {MLP}.gate_proj.32: expected whole blocks of 16 of the 40 places of "
        f"{MLP}.gate_proj, got",
        f'"{MLP}.gate_proj.32"',
    ),
    "rounds that leave some out": (
        both(*(without("lm_head", engine, 2, of="head") for engine in ("linear", "feed", "pick")),
             cluster("lm_head", "@lm_head.128, @lm_head.144]", "@lm_head.128]", of="head")),
        "'lut.cluster' op expected rounds of all 160 places, got them up to 144; allocate again",
        CLUSTER,
    ),
    "rounds that do some twice": (
        named(f"{MLP}.gate_proj.32", "first = 32, outputs = 8", "first = 16, outputs = 24"),
        f"expected round {MLP}.gate_proj.32 to begin at place 32, where the one before ends, got 16; allocate again",
        CLUSTER,
    ),
    "rounds in another order": (
        cluster("lm_head", "[@lm_head.0, @lm_head.128,", "[@lm_head.128, @lm_head.0,", of="head"),
        "'lut.cluster' op expected round lm_head.128 to begin at place 0, where the one before ends, got 128",
        CLUSTER,
    ),
    "a round too large": (
        both(named("lm_head.0", "outputs = 128", "outputs = 144"),
             *(without("lm_head", engine, 2, of="head") for engine in ("linear", "feed", "pick")),
             cluster("lm_head", "[@lm_head.0, @lm_head.128,", "[@lm_head.0,", of="head")),
        "expected a region @lm_head.0.q of 288 bytes of kind q, got 256 of kind q; allocate again",
        CLUSTER,
    ),
    "weights of two ports": (
        named("lm_head.0", "w = [@lm_head.0.w0]", "w = [@lm_head.0.w0, @lm_head.128.w0]"),
        "'lut.cluster' op expected 1 regions w in round lm_head.0, got 2; allocate again",
        CLUSTER,
    ),
    # Of the machine.
    "an engine that is not there": (
        both(change("engines = [", "head_lanes", old='"pick"]', new='"pick", "load"]'),
             change("engines = [", "head_lanes", old=', "embed"', new="")),
        "expected a machine with engine embed, got linear, feed, norm, residual, store, swiglu, heads, "
        "attention, pick, lo",
        TASK,
    ),
    "a machine for shorter heads": (
        change("engines = [", old="head_words = 4", new="head_words = 2"),
        "expected heads of at most 2 words, got 4; enlarge head_words of the lut.machine",
        TASK,
    ),
    "a machine with a shorter context": (
        both(change("engines = [", old="context = 20", new="context = 19"), named("rope.p", "1280", "1216")),
        "expected a machine with a context of at least 20, as KV caches have, got 19; enlarge it",
        "",
    ),
    "too narrow an engine": (
        change('"lut.linear_engine"', old="term_bits = 24", new="term_bits = 20"),
        "expected at most 20 bits of a row entry on this engine, got 24; use a larger engine",
        CLUSTER,
    ),
    "a scheme wider than the engine": (
        change('"lut.scheme"', old="term_bits = 24", new="term_bits = 25"),
        "expected at most 24 bits of a row entry on this engine, got 25; use a larger engine",
        CLUSTER,
    ),
    "too small an accumulator": (
        change('"lut.linear_engine"', old="acc_words = 16", new="acc_words = 15"),
        "expected at most 15 words of sums, got 16; cut it into rounds",
        TASK,
    ),
    "too few scores": (
        change("engines = [", old="score_words = 80", new="score_words = 79"),
        "expected at most 79 scores, got 80; use fewer reps",
        TASK,
    ),
    "too few sums": (
        change("engines = [", old="item_words = 8", new="item_words = 7"),
        "expected at most 7 sums, got 8; use fewer reps",
        TASK,
    ),
    "heads of a group in parts": (
        cluster(OWN, "reps = 2", "reps = 3", of="decode"),
        "expected reps that divide a group of 2 query heads, got 3; change it",
        "",
    ),
    "a FIFO without room for a burst": (
        lambda text: _depth(text, "read_w", 8),
        "'lut.machine' op stream read_w: expected a depth of at least 16 words, what must be there at once, "
        "got 8: a deadlo",
        '"lut.machine"',
    ),
}  # fmt: skip


def _swap_returned(text: Any) -> Any:
    i = text.find("    return ")
    values = [text.value(f"{OWN}.{part}_proj.heads", "prefill") for part in "kv"]
    types = re.findall(r"tensor<20x16xi8, #\w+>", text.lines[i])
    assert len(types) == 4
    text.lines[i] = text.lines[i].replace(f"{values[0]}, {values[1]}", f"{values[1]}, {values[0]}")
    for old, new in ((types[0], "@first"), (types[1], types[0]), ("@first", types[1])):
        text.lines[i] = text.lines[i].replace(old, new, 1)
        k = text.find("func.func @prefill(")
        head, results = text.lines[k].split(" -> ")
        text.lines[k] = f"{head} -> {results.replace(old, new, 1)}"
    return text


def _keeps_its_stream(text: Any) -> Any:
    i, k = text.find("    return ", of="decode"), text.find("func.func @decode(")
    text.lines[i] = re.sub(r"return %\w+, (.* : )tensor<[^>]*>, ", r"return \1", text.lines[i])
    text.lines[k] = re.sub(r" -> \(tensor<[^>]*>, ", " -> (", text.lines[k])
    return text


def _queries_over_keys(text: Any) -> Any:
    """What reads keys waits until queries lie in their place."""
    named("y32_8", "base = 32", "base = 0")(text)
    for own in (OWN, f"{L1}.self_attn"):
        stored = text.token(text.task(f"{own}.q_proj", "store", 0))
        for part in "kv":
            text.waits(text.task(f"{own}.{part}_proj.heads", "heads"), stored)
    return text


def _address(text: Any, name: str, more: int) -> Any:
    i = text.find(f'sym_name = "{name}"')
    text.lines[i] = re.sub(r"address = (\d+)", lambda m: f"address = {int(m[1]) + more}", text.lines[i])
    return text


def _depth(text: Any, name: str, depth: int) -> Any:
    i = text.find('"lut.fifo"', f'sym_name = "{name}"')
    text.lines[i] = re.sub(r"depth = \d+", f"depth = {depth}", text.lines[i])
    return text


@pytest.mark.parametrize("name", EDITS)
def test_what_would_not_work_is_named(name: str, scheduled: ir.Module, text_of: Any) -> None:
    edit, message, line = EDITS[name]
    text = edit(text_of(scheduled))
    with pytest.raises(LutllmError, match=re.escape(message)) as raised:
        run_pipeline(text.parse(), "builtin.module(lut-verify-schedule)", passes=PASSES)
    if line:
        assert line in text.line_of(raised.value)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_that_would_not_work_gets_no_places(name: str, scheduled: ir.Module, text_of: Any) -> None:
    edit, message, line = LAYOUTS[name]
    text = edit(text_of(scheduled))
    with pytest.raises(LutllmError, match=re.escape(message)) as raised:
        run_pipeline(text.parse(), "builtin.module(lut-allocate)", passes=PASSES)
    assert line in text.line_of(raised.value)


def test_attributes_that_mean_nothing(scheduled: ir.Module) -> None:
    """A cluster has the places its chain uses, and no other."""
    module, seen = copy_of(scheduled), set()
    with module.context:
        values: dict[str, Any] = dict.fromkeys(("buffer", "parameters", "region"), dialect.symbol("r"))
        values |= {"rounds": ir.ArrayAttr.get([dialect.symbol("r")]), "reps": dialect.i64(1)}
    for op in ops_in(module.operation, dialect.ClusterOp):
        cluster = Cluster(op)
        for name in values.keys() - set(op.attributes):
            op.attributes[name] = values[name]
            problem = f"expected no {name} on engines {', '.join(cluster.engines)}, got one; remove it"
            assert [text for _, text in chains.problems(cluster)] == [problem]
            del op.attributes[name]
            seen.add((cluster.engines, name))
        assert not list(chains.problems(cluster))
    assert len(seen) == 24


HELD: dict[str, tuple[Edit, str]] = {
    "parts of beats": (
        everywhere("unit = 16, unit_size = 16", "unit = 16, unit_size = 20"),
        "'lut.cluster' op expected heads of whole beats of 8 places, got 20; change the layout",
    ),
    "a layout that does not follow": (
        both(named("c32_b16_p8", "pad = 8", "pad = 32"),
             cluster(NORM, "layout = @c32_b16_p8", "layout = @c40_b16_p8")),
        "'lut.cluster' op expected outputs laid out like those of",
    ),
    "padding that counts": (
        named("c32_b16_p8", "repeat = 0", "repeat = 1"),
        "'lut.cluster' op expected padding of zeros, got the last channel repeated; change repeat",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HELD)
def test_a_layout_that_stands_there_is_checked_by_lut_layout(name: str, scheduled: ir.Module, text_of: Any) -> None:
    edit, message = HELD[name]
    text = edit(text_of(scheduled))
    with pytest.raises(LutllmError, match=re.escape(message)) as raised:
        run_pipeline(text.parse(), "builtin.module(lut-layout)", passes=PASSES)
    assert CLUSTER in text.line_of(raised.value)
