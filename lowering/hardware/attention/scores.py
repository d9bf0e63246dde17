"""QK^T: the scores of an item into one of two banks, and the maximum of every pair (query head, token) so far.

The row of keys and the query word of a beat meet a cycle after its step; products, an adder tree and the sum over a
head's beats follow, rigid. Scores lie in a bank in the order of the walk, which the next stage walks again.
"""

from __future__ import annotations

from lutllm.lowering.hardware.attention.attention_walk import Walk, causal_walk, job_fields, resized, running
from lutllm.lowering.hardware.attention.row_buffer import row_buffer
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import ram
from lutllm.lowering.hardware.lib.signal import Fields, Signal, const, mux, pack
from lutllm.lowering.hardware.lib.state import credit
from lutllm.lowering.machine.accelerator import X_BITS, AcceleratorConfig
from lutllm.numerics import bits_for
from lutllm.quantization import CACHE_BITS

SCORE_BITS = 32  # the verifier of lut.attention proves that scores fit


def dot_latency(lanes: int) -> int:
    """Cycles from two words to their dot product: the products' two registers, then one for two levels of the tree."""
    return 2 + -(-(lanes - 1).bit_length() // 2)


def scored_latency(config: AcceleratorConfig) -> int:
    """Cycles from an item's last step until `scored`."""
    return 1 + dot_latency(config.head_lanes) + 2


def attention_dot(design: Design, config: AcceleratorConfig) -> str:
    """The dot product of a query word and a key word, `dot_latency` cycles later."""
    lanes = config.head_lanes

    def body(m: Module) -> dict[str, Signal]:
        width = X_BITS + CACHE_BITS
        queries, keys = m["query"].chunks(X_BITS), m["key"].chunks(CACHE_BITS)
        level = [
            m.reg(q.sext(width) * k.sext(width), f"product_{i}", cycles=2)  # two for the multiplier to retime into
            for i, (q, k) in enumerate(zip(queries, keys, strict=True))
        ]
        while len(level) > 1:
            width = level[0].width + 2
            sums = []
            for i in range(0, len(level), 4):
                total = level[i].sext(width)
                for term in level[i + 1 : i + 4]:
                    total = total + term.sext(width)
                sums.append(m.reg(total, f"sum_of_{4 * lanes // len(level)}_{i // 4}"))
            level = sums
        # Beyond 32 bits there are only copies of the sign, or the sum over all beats does not fit either.
        total = level[0]
        return dict(dot=total.sext(SCORE_BITS) if total.width <= SCORE_BITS else total[0:SCORE_BITS])

    inputs = {"query": lanes * X_BITS, "key": lanes * CACHE_BITS}
    return design.module("attention_dot", inputs, {"dot": SCORE_BITS}, body, reset=False)


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
    job, dot = job_fields(config), attention_dot(design, config)
    keys = row_buffer(design, config.row_bits, config.head_beats, 0)
    q_bits, pair_bits = config.address_bits("q"), bits_for(config.item_words)
    score_bits = bits_for(config.score_words)

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

        product = m.output_of(dot, "dot_product", query=m["q_read_data"], key=m.reg(row["data"], "key"))
        tag = _delayed_tag(m, config, step.signal, run.bank, walk)
        partial = m.state(SCORE_BITS, "score")
        before = mux(tag["first_beat"], const(0, SCORE_BITS), partial.signal)
        score = partial.set(before + product, tag["valid"])
        stored = _banks(m, _later(m, tag), score, score_bits, pair_bits)
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
        "k_data": config.row_bits,
        "q_read_data": config.word_bits("q"),
        "score_read": 1,
        "score_address": score_bits + 1,
    }
    inputs |= {"pair_address": pair_bits + 1}
    outputs = {"k_ready": 1, "q_read": 1, "q_read_address": q_bits, "busy": 1, "scored": 1}
    return design.module("attention_scores", inputs, outputs | {"score": SCORE_BITS, "maximum": SCORE_BITS}, body)


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


def _banks(m: Module, tag: dict[str, Signal], score: Signal, score_bits: int, pair_bits: int) -> dict[str, Signal]:
    """Store a score and its pair's maximum; a maximum is read, compared and written within a cycle."""
    write = (tag["valid"] & tag["last_beat"]).named("score_write")
    end = tag["item_end"]
    address = m.counter(score_bits, "write_address", step=write, last=end)
    scores = m.output_of(
        ram(m.design, 2 << score_bits, SCORE_BITS), "scores", we=write, wa=pack([address, tag["bank"]]), wd=score,
        re=m["score_read"], ra=m["score_address"],
    )  # fmt: skip
    largest = Wire(SCORE_BITS)
    running_store = ram(m.design, 1 << pair_bits, SCORE_BITS, read_latency=0)
    so_far = m.output_of(running_store, "running", we=write, wa=tag["pair"], wd=largest.signal, ra=tag["pair"])
    largest.assign(mux(tag["first_row"] | so_far.slt(score), score, so_far).named("largest"))
    # The same maxima once more, banked: a RAM has one read port.
    maximum = m.output_of(
        ram(m.design, 2 << pair_bits, SCORE_BITS, read_latency=0), "maxima", we=write,
        wa=pack([tag["pair"], tag["bank"]]), wd=largest.signal, ra=m["pair_address"],
    )  # fmt: skip
    return dict(score=scores, maximum=maximum, scored=m.reg(write & end, "scored_q", reset=0))
