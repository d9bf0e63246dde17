"""QK^T: the scores of an item into one of two banks, and the maximum of every pair (query head, token) so far.

The rows of keys and the query word of a beat meet a cycle after its step; products, an adder tree and the sum over a
head's beats follow, then the largest of the rows' scores, rigid. The scores of a step lie in a word of a bank, in the
order of the walk, which the next stage walks again; those of rows that a pair does not see are there, too.
"""

from __future__ import annotations

from lutllm.lowering.hardware.attention.attention_walk import Walk, causal_walk, job_fields, resized, running
from lutllm.lowering.hardware.attention.dot import dot, dot_latency
from lutllm.lowering.hardware.attention.row_buffer import row_buffer
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import ram
from lutllm.lowering.hardware.lib.signal import Fields, Signal, const, mux, pack
from lutllm.lowering.hardware.lib.state import credit
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


def _tag_fields(config: AcceleratorConfig) -> Fields:
    """What a beat carries along with its dot product."""
    pair_bits = bits_for(config.item_words)
    return Fields(valid=1, first_beat=1, last_beat=1, first_row=1, item_end=1, bank=1, pair=pair_bits)


def attention_scores(design: Design, config: AcceleratorConfig) -> str:
    """Stream k in; memory q read at `q` + word, for each other item `item_skip` words behind the end of the one before,
    for each other kv head `head_skip`.

    `bank_free`: a bank of scores was read. `scored`: an item's scores and maxima are there, to be read at
    `score_address` a cycle after `score_read`, and at `pair_address` at once; the bank is an address' top bit.
    """
    job, product = job_fields(config), dot(design, config.head_lanes, signed=True)
    keys = row_buffer(design, config.rows_bits, config.head_beats, 0)
    q_bits, pair_bits = config.address_bits("q"), bits_for(config.item_words)
    score_bits = bits_for(score_places(config))

    def body(m: Module) -> dict[str, Signal]:
        f = job.unpack(m["job"])
        step = Wire(1)
        walk = causal_walk(m, step.signal, f, config)
        item_end = step.signal & walk.item_end
        run = running(m, m["start"], item_end, f)
        banks = credit(m, "banks", 3, give=m["bank_free"], take=step.signal & walk.item_start, initial=2)
        row_end = step.signal & walk.row_end
        row = m.instance(
            keys, "keys", in_valid=m["k_valid"], in_data=m["k_data"], beats=f["beats"], taken=row_end,
            beat=walk.beat, freed=row_end,
        )  # fmt: skip
        step.assign((run.active & row["there"] & (~walk.item_start | banks)).named("step"))
        base = m.state(q_bits, "query_base")
        q_address = (base.signal + resized(walk.word, q_bits)).named("query_address")
        skip = mux(run.last_item, m["head_skip"], m["item_skip"])
        base.set(mux(m["start"], m["q"], q_address + skip + 1), m["start"] | item_end)

        tag, scores = _delayed_tag(m, config, step.signal, run.bank, walk), []
        for i, key in enumerate(m.reg(row["data"], "key").chunks(config.row_bits)):
            found = m.output_of(product, f"dot_product_{i}", a=m["q_read_data"], b=key)
            # Beyond 32 bits there are only copies of the sign, or the sum over all beats does not fit either.
            found = found.sext(max(SCORE_BITS, found.width))[0:SCORE_BITS]
            partial = m.state(SCORE_BITS, f"score_{i}")
            before = mux(tag["first_beat"], const(0, SCORE_BITS), partial.signal)
            scores.append(partial.set(before + found, tag["valid"]))
        seen = m.reg(pack(walk.seen), "seen", cycles=dot_latency(config.head_lanes)).chunks(1) if walk.seen else []
        stored = _banks(m, config, _later(m, tag), scores, seen)
        return dict(
            k_ready=row["in_ready"], q_read=step.signal, q_read_address=q_address, busy=step.signal, **stored
        )  # fmt: skip

    inputs = {
        "start": 1,
        "job": job.width,
        "q": q_bits,
        "head_skip": q_bits,
        "item_skip": q_bits,
        "k_valid": 1,
        "bank_free": 1,
    }
    inputs |= {
        "k_data": config.rows_bits,
        "q_read_data": config.word_bits("q"),
        "score_read": 1,
        "score_address": score_bits + 1,
    }
    inputs |= {"pair_address": pair_bits + 1}
    outputs = {"k_ready": 1, "q_read": 1, "q_read_address": q_bits, "busy": 1, "scored": 1}
    outputs |= {"score": config.attention_rows * SCORE_BITS, "maximum": SCORE_BITS}
    return design.module("attention_scores", inputs, outputs, body)


def _delayed_tag(m: Module, config: AcceleratorConfig, step: Signal, bank: Signal, walk: Walk) -> dict[str, Signal]:
    """The tag of the beat whose dot product comes in this cycle."""
    fields = _tag_fields(config)
    tag = fields.pack(
        valid=step,
        first_beat=walk.beat.eq(0),
        last_beat=walk.last_beat,
        first_row=walk.first_row,
        item_end=walk.item_end,
        bank=bank,
        pair=walk.pair,
    )
    return fields.unpack(m.reg(tag, "tag", cycles=1 + dot_latency(config.head_lanes), reset=0))


def _later(m: Module, tag: dict[str, Signal]) -> dict[str, Signal]:
    """What of the tag the score needs, with it."""
    names = ("valid", "last_beat", "first_row", "item_end", "bank", "pair")
    return {name: m.reg(tag[name], f"score_{name}", reset=0 if name == "valid" else None) for name in names}


def _banks(
    m: Module, config: AcceleratorConfig, tag: dict[str, Signal], each: list[Signal], seen: list[Signal]
) -> dict[str, Signal]:
    """Store a step's scores and their pair's maximum; a maximum is read, compared and written within a cycle."""
    score_bits, pair_bits = bits_for(score_places(config)), bits_for(config.item_words)
    write = (tag["valid"] & tag["last_beat"]).named("score_write")
    address = m.counter(score_bits, "write_address", step=write, last=tag["item_end"])
    scores = m.output_of(
        ram(m.design, 2 << score_bits, len(each) * SCORE_BITS), "scores", we=write, wa=pack([address, tag["bank"]]),
        wd=pack(each), re=m["score_read"], ra=m["score_address"],
    )  # fmt: skip
    # No score is less.
    least = const(-(1 << (SCORE_BITS - 1)), SCORE_BITS)
    each = [each[0], *(mux(sees, score, least) for sees, score in zip(seen, each[1:], strict=True))]
    while len(each) > 1:
        pairs = zip(each[::2], each[1::2], strict=True)
        each = [m.reg(mux(a.slt(b), b, a), f"largest_of_{len(each)}_{i}") for i, (a, b) in enumerate(pairs)]
    (score,) = each
    levels = _levels(config)
    write = m.reg(write, "maximum_write", cycles=levels, reset=0)
    tag = {name: m.reg(tag[name], f"late_{name}", cycles=levels) for name in ("first_row", "item_end", "bank", "pair")}
    largest = Wire(SCORE_BITS)
    running_store = ram(m.design, 1 << pair_bits, SCORE_BITS, read_latency=0)
    so_far = m.output_of(running_store, "running", we=write, wa=tag["pair"], wd=largest.signal, ra=tag["pair"])
    largest.assign(mux(tag["first_row"] | so_far.slt(score), score, so_far).named("largest"))
    # The same maxima once more, banked: a RAM has one read port.
    maximum = m.output_of(
        ram(m.design, 2 << pair_bits, SCORE_BITS, read_latency=0), "maxima", we=write,
        wa=pack([tag["pair"], tag["bank"]]), wd=largest.signal, ra=m["pair_address"],
    )  # fmt: skip
    return dict(score=scores, maximum=maximum, scored=m.reg(write & tag["item_end"], "scored_q", reset=0))
