"""QK^T: the scores of an item into one of two banks, and the maximum of every pair (query head, token) so far.

The rows of keys and the query word of a beat meet a cycle after its step; products, an adder tree and the sum over a
head's beats follow, then the largest of the rows' scores, rigid. The scores of a step lie in a word of a bank, in the
order of the walk, which the next stage walks again; those of rows that a pair does not see are there, too.
"""

from __future__ import annotations

from typing import Any

from lutllm.lowering.hardware.attention.attention_walk import causal_walk, job_fields, resized, running
from lutllm.lowering.hardware.attention.dot import dot, dot_latency
from lutllm.lowering.hardware.attention.row_buffer import row_buffer
from lutllm.lowering.hardware.control.records import reads
from lutllm.lowering.hardware.lib.bundle import Bundle, Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import stored
from lutllm.lowering.hardware.lib.signal import Signal, aligned, const, mux, pack
from lutllm.lowering.hardware.lib.state import credit
from lutllm.lowering.hardware.lib.stream import Read, Stream
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.numerics import bits_for

SCORE_BITS = 32  # the verifier of lut.attention proves that scores fit


def scored_latency(config: AcceleratorConfig) -> int:
    """Cycles from an item's last step until `scored`."""
    return 1 + dot_latency(config.head_lanes) + 2 + _levels(config)


def _levels(config: AcceleratorConfig) -> int:
    """Cycles to the largest score of a group of rows."""
    return (config.attention_rows - 1).bit_length()


def score_places(config: AcceleratorConfig) -> int:
    """Words of scores in a bank."""
    return config.row_groups(config.score_words)


def score_port(config: AcceleratorConfig) -> Bundle:
    """A port that reads the scores of a step; the bank is the top bit of its address."""
    return Read.of(bits_for(score_places(config)) + 1, config.attention_rows * SCORE_BITS)


def maximum_port(config: AcceleratorConfig) -> Bundle:
    """A port that reads the maximum of a pair, at once."""
    return Read.of(bits_for(config.item_words) + 1, SCORE_BITS, enable=False)


def attention_scores(design: Design, config: AcceleratorConfig) -> str:
    """Stream k in; memory q read at `q` + word, for each other item `item_skip` words behind the end of the one before,
    for each other kv head `head_skip`.

    `bank_free`: a bank of scores was read. `scored`: an item's scores and maxima are there, at `score` and `maximum`.
    """
    job, product = job_fields(config), dot(design, config.head_lanes, signed=True)
    keys, q_bits = row_buffer(design, config.rows_bits, config.head_beats, 0), config.address_bits("q")

    def body(m: Module) -> dict[str, Any]:
        f, step, pipe = job.unpack(m["job"]), Wire(1), m.pipeline()
        walk = causal_walk(m, step.signal, f, config)
        item_end = step.signal & walk.item_end
        run = running(m, m["start"], item_end, f)
        banks = credit(m, "banks", 3, give=m["bank_free"], take=step.signal & walk.item_start, initial=2)
        rows, row_end = m.output_of(keys, "keys", **{"in": m["k"]}, beats=f["beats"]), step.signal & walk.row_end
        rows.drive(taken=row_end, beat=walk.beat, freed=row_end)
        step.assign((run.active & rows.there & (~walk.item_start | banks)).named("step"))
        base = m.state(q_bits, "query_base")
        q_address = (base.signal + resized(walk.word, q_bits)).named("query_address")
        skip = mux(run.last_item, m["head_skip"], m["item_skip"])
        base.set(mux(m["start"], m["q"], q_address + skip + 1), m["start"] | item_end)

        query = Read(pipe.at(q_address), config.word_bits("q"), pipe.valid(step.signal))
        tag = dict(first_beat=walk.beat.eq(0), last_beat=walk.last_beat, first_row=walk.first_row)
        tag |= dict(item_end=walk.item_end, bank=run.bank, pair=walk.pair)
        tag = {name: pipe.at(signal) for name, signal in tag.items()} | dict(valid=pipe.valid(step.signal))
        scores = []
        for i, key in enumerate(m.reg(pipe.at(rows.data), "key").chunks(config.row_bits)):
            found = m.output_of(product, f"dot_product_{i}", a=query.data, b=key)
            # Beyond 32 bits there are only copies of the sign, or the sum over all beats does not fit either.
            found = found.sext(max(SCORE_BITS, found.width))[0:SCORE_BITS]
            first, valid = (tag[name].until(found.cycle).plain() for name in ("first_beat", "valid"))
            partial = m.state(SCORE_BITS, f"score_{i}")
            total = mux(first, const(0, SCORE_BITS), partial.signal) + found.plain()
            scores.append(pipe.at(partial.set(total, valid), found.cycle + 1))
        scored = _banks(m, config, tag, scores, [pipe.at(flag, 2) for flag in walk.seen])
        scored.due(scored_latency(config))
        return dict(q_read=query, busy=step.signal, scored=scored)

    inputs: dict[str, Any] = {"start": 1, "job": job.width, "bank_free": 1}
    inputs |= dict.fromkeys(("q", "head_skip", "item_skip"), q_bits)
    inputs |= {"k": Stream.of(config.rows_bits), "score": score_port(config), "maximum": maximum_port(config)}
    return design.module("attention_scores", inputs, {"q_read": reads(config, "q"), "busy": 1, "scored": 1}, body)


def _banks(
    m: Module, config: AcceleratorConfig, tag: dict[str, Signal], each: list[Signal], seen: list[Signal]
) -> Signal:
    """Store a step's scores and their pair's maximum, which is read, compared and written within a cycle; returns
    whether those of an item are there."""
    places, pairs = 1 << bits_for(score_places(config)), 1 << bits_for(config.item_words)
    now = {name: signal.until(each[0].cycle) for name, signal in tag.items()}
    last = (now["valid"] & now["last_beat"]).named("score_write")
    write, bank = last.plain(), now["bank"].plain()
    address = m.counter(bits_for(places), "write_address", step=write, last=now["item_end"].plain())
    written = (write, pack([address, bank]), pack(each).plain())
    read = (m["score"].enable, m["score"].address)
    m["score"].drive(data=stored(m, "scores", 2 * places, write=written, read=read))
    # No score is less.
    least = const(-(1 << (SCORE_BITS - 1)), SCORE_BITS)
    always = len(each) - len(seen)
    each = [*each[:always], *(mux(sees, score, least) for sees, score in zip(seen, each[always:], strict=True))]
    while len(each) > 1:
        two = zip(each[::2], each[1::2], strict=True)
        each = [m.reg(mux(a.slt(b), b, a), f"largest_of_{len(each)}_{i}") for i, (a, b) in enumerate(two)]
    last, end, *rest = aligned(last, tag["item_end"], tag["first_row"], tag["bank"], tag["pair"], each[0])
    first, bank, pair, score = (signal.plain() for signal in rest)
    largest, write = Wire(SCORE_BITS), last.plain()
    so_far = stored(m, "running", pairs, write=(write, pair, largest.signal), read=pair)
    largest.assign(mux(first | so_far.slt(score), score, so_far).named("largest"))
    # The same maxima once more, banked: a RAM has one read port.
    written = (write, pack([pair, bank]), largest.signal)
    m["maximum"].drive(data=stored(m, "maxima", 2 * pairs, write=written, read=m["maximum"].address))
    return m.reg(last & end, "scored_q")
