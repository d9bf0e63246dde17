"""Time edited by hand: tasks and tokens that would give other numbers, or stand still, are named at the task."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from lutllm.accelerator.hardware import PASSES
from lutllm.bindings import ir
from lutllm.errors import LutllmError
from lutllm.passes import run_pipeline

Edit = Callable[[Any], Any]
L0, L1 = "model.layers.0", "model.layers.1"
OWN, MLP = f"{L0}.self_attn", f"{L0}.mlp"
NORM = f"{OWN}.q_proj.input"
TASK, CLUSTER = '"lut.task"', '"lut.cluster"()'


def named(name: str, old: str, new: str) -> Edit:
    """In the op of a symbol."""
    return lambda text: text.change(f'sym_name = "{name}"', old=old, new=new)


def both(*edits: Edit) -> Edit:
    def edit(text: Any) -> Any:
        for each in edits:
            text = each(text)
        return text

    return edit


def task(label: str, engine: str, round_: int | None = None, *, old: str, new: str) -> Edit:
    def edit(text: Any) -> Any:
        i = text.task(label, engine, round_)
        text.lines[i] = text.lines[i].replace(old, new)
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


def alone(label: str, engine: str, round_: int | None = None) -> Edit:
    """A task that waits for nothing."""
    return lambda text: text.waits(text.task(label, engine, round_))


def swapped(label: str, engine: str, *rounds: int, of: str = "prefill") -> Edit:
    """Two tasks of one engine, each in the place of the other."""

    def edit(text: Any) -> Any:
        one, two = (text.task(label, engine, r, of) for r in rounds)
        for i, r in ((one, rounds[1]), (two, rounds[0])):
            text.lines[i] = re.sub(r"round = \d", f"round = {r}", text.lines[i])
        return text

    return edit


def after_its_feed(label: str, by: str) -> Edit:
    """The linear task of a round behind another task."""

    def edit(text: Any) -> Any:
        return text.move(text.task(label, "linear", 0), text.task(by, "feed", 0) + 1)

    return edit


EDITS: dict[str, tuple[Edit, str, str]] = {
    "a task that is not there": (
        without(f"{MLP}.up_proj", "swiglu", 1),
        "'lut.cluster' op expected one task of engine swiglu for round 1, got 0; schedule it again",
        CLUSTER,
    ),
    "a task twice": (
        lambda text: _twice(text, text.task(NORM, "norm")),
        "'lut.cluster' op expected one task of engine norm, got 2; schedule it again",
        CLUSTER,
    ),
    "a round that is not there": (
        task(f"{MLP}.up_proj", "swiglu", 1, old="round = 1", new="round = 2"),
        "'lut.task' op expected a round in 0..1, as its cluster has, got 2; change it",
        TASK,
    ),
    "an engine of another cluster": (
        task(NORM, "norm", old='"norm"', new='"heads"'),
        "'lut.task' op expected an engine of its cluster, norm, got heads; change it",
        TASK,
    ),
    "a token that is not waited for": (
        alone(NORM, "norm"),
        f"task prefill.{NORM}: expected to wait for prefill.model.embed_tokens.load, because of r0_8, got no "
        f"wait; add its",
        TASK,
    ),
    "a port that is busy": (
        alone(f"{MLP}.up_proj", "swiglu", 0),
        f"task prefill.{MLP}.up_proj.0.swiglu: expected to wait for",
        TASK,
    ),
    "feeds in another order": (
        swapped(f"{MLP}.gate_proj", "feed", 0, 1),
        f"feeds: expected number 5 to be of {MLP}.gate_proj, round {MLP}.gate_proj.0, got {MLP}.gate_proj, round",
        TASK,
    ),
    "rounds computed in another order": (
        both(*(swapped("lm_head", engine, 0, 1, of="head") for engine in ("linear", "feed", "pick"))),
        "task head.lm_head.0.pick: expected the rounds of lm_head in order, got it after a later one; order "
        "its linears",
        TASK,
    ),
    "RoPE without its rows": (
        lambda text: text.drop(text.find('"lut.task"(%arg1)')),
        f"task prefill.{OWN}.k_proj.heads: expected RoPE's rows of rope.p loaded before, got none; add the "
        f"task that loads",
        TASK,
    ),
    "RoPE with other rows": (
        lambda text: text.change('"lut.task"(%arg1)', old="@rope.p", new=f"@{NORM}.p"),
        f"'lut.task' op expected a cluster on engine heads with region @{NORM}.p, got none; remove the task",
        TASK,
    ),
    "a key that comes too late": (
        lambda text: _key_behind_attention(text),
        f"expected the rows of {OWN}.k_proj.heads in {OWN}.k_proj.k, got none; dispatch them first",
        TASK,
    ),
    "a linear behind its feed": (
        after_its_feed(f"{MLP}.gate_proj", f"{MLP}.up_proj"),
        "feeds: expected number 5 to be of",
        TASK,
    ),
    "a wait without end": (
        lambda text: _waits_for_its_own_sink(text),
        "before it, without which",
        TASK,
    ),
    "a list of another length": (
        named("prefill.d", "bytes = 4112", "bytes = 4104"),
        "'func.func' op expected a region prefill.d of 4112 bytes for its tasks, got 4104; run lut-serialize",
        "func.func @prefill",
    ),
}  # fmt: skip


def _twice(text: Any, i: int) -> Any:
    text.lines.insert(i + 1, text.lines[i].replace(text.token(i), "%again"))
    return text


def _key_behind_attention(text: Any) -> Any:
    """Which it waits for."""
    key, seen = text.task(f"{OWN}.k_proj.heads", "heads"), text.task(OWN, "attention")
    text.waits(text.task(f"{MLP}.gate_proj", "store", 0), text.token(key))  # which writes where it reads
    return text.waits(key, text.token(seen)).move(key, seen + 1)


def _waits_for_its_own_sink(text: Any) -> Any:
    """A feed waits for the linear whose inputs it brings."""
    linear, feed = (text.task(f"{OWN}.q_proj", engine, 0) for engine in ("linear", "feed"))
    return text.waits(feed, text.token(linear))


@pytest.mark.parametrize("name", EDITS)
def test_what_would_not_work_is_named(name: str, scheduled: ir.Module, text_of: Any) -> None:
    edit, message, line = EDITS[name]
    text = edit(text_of(scheduled))
    with pytest.raises(LutllmError, match=re.escape(message)) as raised:
        run_pipeline(text.parse(), "builtin.module(lut-verify-schedule)", passes=PASSES)
    if line:
        assert line in text.line_of(raised.value)


def test_what_is_not_edited_works(scheduled: ir.Module, text_of: Any) -> None:
    run_pipeline(text_of(scheduled).parse(), "builtin.module(lut-verify-schedule)", passes=PASSES)
