"""Engine feed: memory x to stream x of the LutLinear engine, group after group, in each the tokens."""

from typing import Any

from lutllm.lowering.hardware.control.records import reads, task_port
from lutllm.lowering.hardware.control.task import Steps, TaskFields, stepped_task, token_count
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, all_of, const, mux, pack, select
from lutllm.lowering.hardware.lib.state import CREDIT, Levels, credit, early
from lutllm.lowering.hardware.lib.stream import FIFO_LATENCY, Read, Stream
from lutllm.lowering.hardware.linear.words import assembled
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.numerics import bits_for

FIFO_DEPTH = 4  # a step takes room for a word, which comes back after four cycles at the earliest
LATENCY = 3  # cycles from a step to the word of stream x
WRITTEN = CREDIT  # from the write of the last word of a group until the group's first step


def parts_of_word(config: AcceleratorConfig) -> int:
    """Words of stream x of a word of memory x."""
    return max(1, config.lanes // (2 * config.engine.pairs))


def x_depth(config: AcceleratorConfig) -> int:
    return config.depths.get("x", FIFO_DEPTH)


def feed(design: Design, config: AcceleratorConfig) -> str:
    """Stream in: `task`. Reads memory x. Stream out: `out`, words of 2 * pairs channels.

    A group is a part of a vector word or joins several of them, at base + word * T + t; then it takes as many cycles.
    `written`: a word goes into memory x. A task that `takes` does not wait for the end of who writes its words, but
    with each group for the words of all tokens: they come in the order of the task's steps. The last group may have
    fewer, as many as `takes` says; what lies in memory behind them meets weights of 0.
    """
    bits, depth, group_bits = config.address_bits("x"), x_depth(config), config.engine.word_bits["x"]
    joined, parts = config.joined_words, parts_of_word(config)

    def levels(fields: TaskFields) -> Levels:
        inner: Levels = [("word", const(joined, bits_for(joined + 1)))] if joined > 1 else []
        return [("group", fields["groups"]), ("token", token_count(config, fields)), *inner]

    def body(m: Module) -> dict[str, Any]:
        issue, pop, done, there = Wire(1), Wire(1), Wire(1), Wire(1)
        room = credit(m, "room", depth, give=pop.signal, take=issue.signal, initial=depth)
        task = stepped_task(m, config, "feed", levels, room & there.signal, latency=done.signal)
        # Taken with the last word of a group: what the first one saw is then still there.
        issue.assign(task.fire & task.last["word"] if joined > 1 else task.fire)
        part = task.index["group"][0 : bits_for(parts)]
        inner = [index.eq(0) for name, index in task.index.items() if name != "group"]
        begins = all_of([*inner, task.fields["takes"].ne(0), *([part.eq(0)] if parts > 1 else [])])
        there.assign(~begins | _written(m, config, task, begins))
        address = _address(m, task, part.eq(parts - 1) if parts > 1 else const(1, 1), bits)

        at, valid = task.pipe.at, task.pipe.valid
        read = Read(m.reg(at(address), "address_q"), config.word_bits("x"), m.reg(task.step, "read_q"))
        data = read.data
        if joined > 1:
            arrived, word = task.step.until(data.cycle).plain(), data.plain()
            data = at(pack([*assembled(m, word, joined, arrived, "earlier"), word]), data.cycle)
        elif parts > 1:
            data = select(data.chunks(group_bits), at(part))
        given = Stream(valid(issue.signal), data=data.due(LATENCY - FIFO_LATENCY), last=valid(task.finish))
        out = given.fifo(m, "words", depth)
        pop.assign(out.moves)
        done.assign(out.moves & out.last)
        return dict(x_read=read, out=out.carrying(data=out.data), done=task.done)

    outputs = {"x_read": reads(config, "x"), "out": Stream.of(group_bits), "done": 1}
    return design.module("feed", {"task": task_port(config, "feed"), "written": 1}, outputs, body)


def _written(m: Module, config: AcceleratorConfig, task: Steps, begins: Signal) -> Signal:
    """Whether the words of a group, of all tokens, are written and not taken yet; its first step takes them."""
    bits, tokens = bits_for(config.x_words + 1), token_count(config, task.fields)
    tokens = tokens[0 : min(tokens.width, bits)].zext(bits)
    count, group = m.state(bits, "written_words", reset=0), early(m, tokens * const(config.joined_words, bits), "whole")
    if config.joined_words > 1:
        takes = task.fields["takes"]
        rest = tokens * takes[0 : min(takes.width, bits_for(config.joined_words + 1))].zext(bits)
        group = mux(task.last["group"], early(m, rest, "rest"), group)
    taken = mux(task.fire & begins, group, const(0, bits))
    count.set(count.signal + m["written"].zext(bits) - taken)
    return ~count.signal.ult(group)


def _address(m: Module, task: Steps, last_part: Signal, bits: int) -> Signal:
    """base + (words before this one) * T + t. The products are sums kept on the way: a row begins T after the last."""
    tokens, row, ahead = task.fields["tokens"][0:bits], m.state(bits, "row", reset=0), const(0, bits)
    if "word" in task.index:
        column = m.state(bits, "column", reset=0)
        following = mux(task.last["word"], const(0, bits), column.signal + tokens)
        ahead = column.set(following, task.fire)
    row_done = all_of([task.fire, task.last["token"], last_part, task.last.get("word", const(1, 1))])
    following = mux(task.busy, row.signal + ahead + tokens, const(0, bits))
    row.set(following, row_done | ~task.busy)
    return task.fields["base"][0:bits] + row.signal + ahead + task.index["token"].zext(16)[0:bits]
