"""The end of attention: an item's sums over the sum of its weights, rescaled and saturated, into memory x.

Word after word of each query head, token inner, rigid; an item of each core in turn. Cycle by cycle after a step:

    1  sum of weights    8  its reciprocal    9  sums picked    11  products    13  shifted    14  saturated, written
"""

from __future__ import annotations

from lutllm.lowering.hardware.attention.attention_walk import job_fields, resized, running
from lutllm.lowering.hardware.attention.weighted import sum_bits, total_bits
from lutllm.lowering.hardware.lib.arithmetic import clamped, largest, round_shift_staged
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.functions import INVERSE_BITS, RECIPROCAL_LATENCY, reciprocal
from lutllm.lowering.hardware.lib.signal import Fields, Signal, all_of, const, mux, pack, select
from lutllm.lowering.hardware.lib.state import Levels, credit, loop_nest
from lutllm.lowering.machine.accelerator import LEFT, RIGHT_BITS, X_BITS, AcceleratorConfig
from lutllm.numerics import bits_for

RECIPROCAL_STAGE = 1 + RECIPROCAL_LATENCY
READ_STAGE = RECIPROCAL_STAGE - 1  # sums are read, picked two cycles later
PICKED_STAGE = READ_STAGE + 2
LANE_LATENCY = 5
RIGHT_FREED = PICKED_STAGE + 2  # right shifts are read where they are used, not carried along
DONE = PICKED_STAGE + LANE_LATENCY + 1
BITS_BITS = bits_for(X_BITS + 1)  # of the field `bits`
AMOUNT_BITS = 8  # of a right shift with the length added: images keep to it


def drain_lane(design: Design, config: AcceleratorConfig) -> str:
    """One channel: rescale(`sum` * `r`, LEFT - right - length), clamped to -high - 1 .. high; `LANE_LATENCY` cycles.

    `right` and `length` come two cycles after `sum`; `high` is steady.
    """
    width = sum_bits(config) + INVERSE_BITS - 1  # r is at most 2**16, sums are at least -2**(bits - 1)
    length_bits = bits_for(total_bits(config) + 1)

    def body(m: Module) -> dict[str, Signal]:
        product = m.reg(m["sum"].sext(width) * m["r"].zext(width), "product", cycles=2)
        amount = m["right"] + m["length"].zext(AMOUNT_BITS)
        result = round_shift_staged(m, pack([const(0, LEFT), product]), amount, LEFT + width + 1)
        return dict(result=m.reg(clamped(result, m["high"]), "result_q"))

    inputs = {"sum": sum_bits(config), "r": INVERSE_BITS, "right": RIGHT_BITS, "length": length_bits, "high": X_BITS}
    return design.module("attention_drain_lane", inputs, {"result": X_BITS}, body, reset=False)


def drain_job(config: AcceleratorConfig) -> Fields:
    """What this stage needs of a task: of memory x the words of a kv head, and of `items` a way each."""
    fields = job_fields(config).subset("kv_heads", "items", "reps", "beats", "tokens").widths
    return Fields(**fields, items_words=config.address_bits("x"), head_words=config.address_bits("x"))


class _Place:
    """Where a step is: `word` = pair * beats + beat of the sums, `part` of that word."""

    def __init__(self, m: Module, step: Signal, f: dict[str, Signal], parts: int, address: int) -> None:
        levels: Levels = [("rep", f["reps"]), ("beat", f["beats"]), ("part", const(parts, bits_for(parts + 1)))]
        index, last = loop_nest(m, step, [*levels, ("token", f["tokens"])])
        self.token_last, self.part = last["token"], index["part"][0 : bits_for(parts)]
        self.head_end = all_of([last["token"], last["part"], last["beat"]]).named("head_end")
        self.item_start = all_of([i.eq(0) for i in index.values()]).named("item_start")
        self.item_end = (self.head_end & last["rep"]).named("item_end")
        word, pair = m.state(address, "word", reset=0), m.state(address, "pair", reset=0)
        first_word, first_pair = m.state(address, "head_word", reset=0), m.state(address, "head_pair", reset=0)
        zero = const(0, address)
        # Tokens are `beats` words apart; the next part or beat of the head begins at its first token again.
        beat = resized(index["beat"], address) + resized(last["part"], address)
        next_word = mux(self.token_last, first_word.signal + beat, word.signal + resized(f["beats"], address))
        word_after, pair_after = word.signal + 1, pair.signal + 1
        head_step = step & self.head_end
        word.set(mux(self.item_end, zero, mux(self.head_end, word_after, next_word)), step)
        first_word.set(mux(self.item_end, zero, word_after), head_step)
        next_pair = mux(self.token_last & ~self.head_end, first_pair.signal, pair_after)
        pair.set(mux(self.item_end, zero, next_pair), step)
        first_pair.set(mux(self.item_end, zero, pair_after), head_step)
        self.word, self.pair = word.signal, pair.signal


def attention_drain(design: Design, config: AcceleratorConfig) -> str:
    """`weighted`: the sums of an item are there. Takes `rights` from their row buffer, a vector word for all tokens. Of
    what comes from cores, or goes to them, each has its part, the first lowest.

    Reads `total` (at `total_address`, at once) and `drained` (a cycle after `drain_read`); `drained_free` when all of
    an item was read. Writes memory x from `base` on; `done` when the last word of the last item is there.
    """
    job, lanes, parts, cores = (
        drain_job(config),
        config.lanes,
        config.head_lanes // config.lanes,
        config.attention_cores,
    )
    lane, dividing = drain_lane(design, config), reciprocal(design, total_bits(config))
    address, x_bits = bits_for(config.item_words), config.address_bits("x")

    def body(m: Module) -> dict[str, Signal]:
        f = job.unpack(m["job"])
        step = Wire(1)
        place = _Place(m, step.signal, f, parts, address)
        item_end = step.signal & place.item_end
        run = running(m, m["start"], item_end, f, config.attention_units, config.attention_ways)
        start = step.signal & place.item_start
        there = select([
            credit(m, f"weighted_items_{core}", 3, give=m["weighted"][core], take=start & run.core.eq(core))
            for core in range(cores)
        ], run.core)  # fmt: skip
        step.assign(all_of([run.active, m["right_there"], ~place.item_start | there]).named("step"))
        right_end = step.signal & place.token_last

        inverse = m.instance(
            dividing, "reciprocal", p=m.reg(select(m["total"].chunks(total_bits(config)), run.core), "total_q")
        )
        amounts = dict(length=m.reg(inverse["length"], "length", cycles=RIGHT_FREED - RECIPROCAL_STAGE))
        amounts |= dict(
            r=m.reg(inverse["r"], "r", cycles=PICKED_STAGE - RECIPROCAL_STAGE), high=largest(m["bits"], X_BITS)
        )
        reading, item_read = (
            m.reg(flag, name, cycles=READ_STAGE, reset=0)
            for flag, name in ((step.signal, "reading"), (item_end, "item_read"))
        )
        freed = m.reg(run.core, "core_freed", cycles=READ_STAGE)
        writing = m.reg(reading, "writing", cycles=PICKED_STAGE + LANE_LATENCY - READ_STAGE, reset=0)
        all_written = m.reg(item_end & run.final, "all_written", cycles=DONE, reset=0)
        part, core = (m.reg(s, n, cycles=READ_STAGE + 1) for s, n in ((place.part, "part"), (run.core, "core_read")))
        word = select(m["drained"].chunks(config.head_lanes * sum_bits(config)), core)
        picked = m.reg(select(word.chunks(lanes * sum_bits(config)), part), "picked")
        results = [
            m.output_of(lane, f"lane_{i}", sum=total, right=right, **amounts)
            for i, (total, right) in enumerate(
                zip(picked.chunks(sum_bits(config)), m["rights"].chunks(RIGHT_BITS), strict=True)
            )
        ]
        flags = pack([item_end, run.last_way, run.last_unit, run.last_item])
        ends = m.reg(flags, "ends", cycles=PICKED_STAGE + LANE_LATENCY, reset=0)
        return dict(
            right_taken=right_end,
            right_freed=m.reg(right_end, "right_end", cycles=RIGHT_FREED, reset=0),
            total_address=pack([place.pair, run.bank]),
            drain_read=reading,
            drain_address=m.reg(pack([place.word, run.bank]), "drain_address", cycles=READ_STAGE),
            drained_free=pack([item_read & freed.eq(core) for core in range(cores)]),
            x_write=writing,
            x_write_address=_x_address(m, f, writing, *ends.chunks(1)),
            x_write_data=pack(results),
            done=all_written,
        )

    inputs = {"start": 1, "job": job.width, "base": x_bits, "bits": BITS_BITS, "weighted": cores, "right_there": 1}
    inputs |= {"rights": lanes * RIGHT_BITS, "total": cores * total_bits(config)}
    inputs |= {"drained": cores * config.head_lanes * sum_bits(config)}
    outputs = {"right_taken": 1, "right_freed": 1, "total_address": address + 1, "drain_read": 1}
    outputs |= {"drain_address": address + 1, "drained_free": cores, "x_write": 1, "x_write_address": x_bits}
    outputs |= {"x_write_data": config.word_bits("x"), "done": 1}
    return design.module("attention_drain", inputs, outputs, body)


def _x_address(
    m: Module,
    f: dict[str, Signal],
    writing: Signal,
    item_end: Signal,
    last_way: Signal,
    last_unit: Signal,
    last_item: Signal,
) -> Signal:
    """Where a word goes: units are a kv head apart; items of one lie in a row, first those that ways have at a time."""
    address, of_unit, of_first = (m.state(f["head_words"].width, name) for name in ("x_address", "of_unit", "of_first"))
    on, start, end = address.signal + 1, m["start"], all_of([writing, item_end, last_way])
    next_first = mux(last_item, on, of_first.signal + f["items_words"])
    next_unit = mux(last_unit, next_first, of_unit.signal + f["head_words"])
    address.set(mux(start, m["base"], mux(item_end & last_way, next_unit, on)), start | writing)
    of_unit.set(mux(start, m["base"], next_unit), start | end)
    of_first.set(mux(start, m["base"], next_first), start | (end & last_unit))
    return address.signal
