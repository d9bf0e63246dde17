"""Engine feed: memory x to stream x of the LutLinear engine, group after group, in each the tokens."""

from lutllm.lowering.hardware.control.task import Steps, TaskFields, stepped_task, task_inputs, token_count
from lutllm.lowering.hardware.lib.circt import (
    CREDIT,
    Design,
    Levels,
    Module,
    Signal,
    Wire,
    all_of,
    const,
    credit,
    delay,
    mux,
    pack,
    select,
)
from lutllm.lowering.hardware.lib.memory import buffered
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.numerics import bits_for

FIFO_DEPTH = 4  # a step takes room for a word, which comes back after four cycles at the earliest
_READ = 2  # cycles from a step to the word of memory x
LATENCY = _READ + 1  # to the word of stream x
WRITTEN = CREDIT  # from the write of the last word of a group until the group's first step


def parts_of_word(config: AcceleratorConfig) -> int:
    """Words of stream x of a word of memory x."""
    return max(1, config.lanes // (2 * config.engine.pairs))


def x_depth(config: AcceleratorConfig) -> int:
    return config.depths.get("x", FIFO_DEPTH)


def feed(design: Design, config: AcceleratorConfig) -> str:
    """Stream in: `task`. Drives the read port `x_read*`. Stream out: `out`, words of 2 * pairs channels.

    A group is a part of a vector word or joins several of them, at base + word * T + t; then it takes as many cycles.
    `written`: a word goes into memory x. A task that `takes` does not wait for the end of who writes its words, but
    with each group for the words of all tokens: they come in the order of the task's steps. The last group may have
    fewer, as many as `takes` says; what lies in memory behind them meets weights of 0.
    """
    bits, width, depth = config.address_bits("x"), config.word_bits("x"), x_depth(config)
    group_bits = config.engine.word_bits["x"]
    joined, parts = config.joined_words, parts_of_word(config)

    def levels(fields: TaskFields) -> Levels:
        inner: Levels = [("word", const(joined, bits_for(joined + 1)))] if joined > 1 else []
        return [("group", fields["groups"]), ("token", token_count(config, fields)), *inner]

    def body(m: Module) -> dict[str, Signal]:
        issue, pop, done, there = Wire(1), Wire(1), Wire(1), Wire(1)
        room = credit(m, "room", bits_for(depth + 1), give=pop.signal, take=issue.signal, initial=depth)
        task = stepped_task(m, "feed", levels, room & there.signal, latency=done.signal)
        # Taken with the last word of a group: what the first one saw is then still there.
        issue.assign(task.fire & task.last["word"] if joined > 1 else task.fire)
        part = task.index["group"][0 : bits_for(parts)]
        inner = [index.eq(0) for name, index in task.index.items() if name != "group"]
        begins = all_of([*inner, task.fields["takes"].ne(0), *([part.eq(0)] if parts > 1 else [])])
        there.assign(~begins | _written(m, config, task, begins))
        address = _address(m, task, part.eq(parts - 1) if parts > 1 else const(1, 1), bits)

        data = m["x_read_data"]
        if joined > 1:
            data = _join(m, data, delay(m, task.fire, _READ, "arrived", reset=0), joined)
        elif parts > 1:
            data = select(data.chunks(group_bits), delay(m, part, _READ, "part"))
        valid = delay(m, issue.signal, _READ, "valid", reset=0)
        last = delay(m, task.finish, _READ, "last", reset=0)
        out, _ = buffered(m, "words", valid, pack([data, last]), depth)
        out.ready.assign(m["out_ready"])
        pop.assign(out.valid & m["out_ready"])
        done.assign(pop.signal & out.data[group_bits])
        return dict(
            task_ready=task.ready,
            x_read=m.reg(task.fire, "read_q", reset=0),
            x_read_address=m.reg(address, "address_q"),
            out_valid=out.valid,
            out_data=out.data[0:group_bits],
            done=task.done,
        )

    inputs = task_inputs("feed") | {"x_read_data": width, "out_ready": 1, "written": 1}
    outputs = {"task_ready": 1, "x_read": 1, "x_read_address": bits}
    outputs |= {"out_valid": 1, "out_data": group_bits, "done": 1}
    return design.module("feed", inputs, outputs, body)


def _written(m: Module, config: AcceleratorConfig, task: Steps, begins: Signal) -> Signal:
    """Whether the words of a group, of all tokens, are written and not taken yet; its first step takes them."""
    bits, tokens = bits_for(config.x_words + 1), token_count(config, task.fields)
    tokens = tokens[0 : min(tokens.width, bits)].zext(bits)
    count, group = m.state(bits, "written_words", reset=0), tokens * const(config.joined_words, bits)
    if config.joined_words > 1:
        rest = tokens * task.fields["takes"][0 : bits_for(config.joined_words + 1)].zext(bits)
        group = mux(task.last["group"], rest, group)
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


def _join(m: Module, word: Signal, arrived: Signal, count: int) -> Signal:
    """The last `count` words, the earliest lowest."""
    parts = [word]
    for i in range(count - 1):
        parts.insert(0, m.reg(parts[0], f"earlier_{i}", enable=arrived))
    return pack(parts)
