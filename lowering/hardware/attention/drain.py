"""The end of attention: an item's sums over the sum of its weights, rescaled and saturated, into memory x.

Word after word of each query head, token inner, rigid; an item of each core in turn. Cycle by cycle after a step:

    1  sum of weights    8  its reciprocal    9  sums picked    11  products    13  shifted    14  saturated, written
"""

from __future__ import annotations

from typing import Any

from lutllm.lowering.hardware.attention.attention_parameters import rights_port
from lutllm.lowering.hardware.attention.attention_walk import job_fields, resized, running
from lutllm.lowering.hardware.attention.weighted import sum_bits, sums_port, total_bits, total_port
from lutllm.lowering.hardware.control.records import writes
from lutllm.lowering.hardware.lib.arithmetic import clamped, largest, round_shift_staged
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.functions import INVERSE_BITS, RECIPROCAL_LATENCY, reciprocal
from lutllm.lowering.hardware.lib.signal import Fields, Signal, all_of, const, mux, pack, select
from lutllm.lowering.hardware.lib.state import Levels, credit, loop_nest
from lutllm.lowering.hardware.lib.stream import Read, Write
from lutllm.lowering.machine.accelerator import LEFT, RIGHT_BITS, X_BITS, AcceleratorConfig
from lutllm.numerics import bits_for

READ_STAGE = RECIPROCAL_LATENCY  # sums are read when their reciprocal is about to come
RIGHT_FREED = READ_STAGE + 4  # right shifts are read where they are used, not carried along
DONE = READ_STAGE + 8
BITS_BITS = bits_for(X_BITS + 1)  # of the field `bits`
AMOUNT_BITS = 8  # of a right shift with the length added: images keep to it


def drain_lane(design: Design, config: AcceleratorConfig) -> str:
    """One channel: rescale(`sum` * `r`, LEFT - `amount`), clamped to -high - 1 .. high."""
    width = sum_bits(config) + INVERSE_BITS - 1  # r is at most 2**16, sums are at least -2**(bits - 1)

    def body(m: Module) -> dict[str, Signal]:
        product = m.reg(m["sum"].sext(width) * m["r"].zext(width), "product", cycles=2)
        result = round_shift_staged(m, pack([const(0, LEFT), product]), m["amount"], LEFT + width + 1)
        return dict(result=m.reg(clamped(result, m["high"]), "result_q"))

    inputs = {"sum": sum_bits(config), "r": INVERSE_BITS, "amount": AMOUNT_BITS, "high": X_BITS}
    return design.pipeline("attention_drain_lane", inputs, {"result": X_BITS}, body, steady=["high"])


def drain_job(config: AcceleratorConfig) -> Fields:
    """What this stage needs of a task: of memory x the words of a kv head, and of `items` a way each."""
    fields = job_fields(config).subset("kv_heads", "items", "reps", "beats", "tokens").widths
    return Fields(**fields, items_words=config.address_bits("x"), head_words=config.address_bits("x"))


class _Place:
    """Where a step is: `word` = pair * beats + beat of the sums, `part` of that word."""

    def __init__(self, m: Module, step: Signal, f: dict[str, Signal], parts: int, address: int) -> None:
        levels: Levels = [("rep", f["reps"]), ("beat", f["beats"]), ("part", const(parts, bits_for(parts + 1)))]
        index, last, at_first = loop_nest(m, step, [*levels, ("token", f["tokens"])])
        self.token_last, self.part = last["token"], index["part"][0 : bits_for(parts)]
        self.head_end = all_of([last["token"], last["part"], last["beat"]]).named("head_end")
        self.item_start = all_of(list(at_first.values())).named("item_start")
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
    """`weighted`: the sums of an item are there. Takes `rights`, a vector word for all tokens. Of what comes from
    cores, or goes to them, each has its part, the first lowest.

    Reads `total` and `sums`; `drained_free` when all of an item was read. Writes memory x from `base` on; `done` when
    the last word of the last item is there.
    """
    job, lanes, parts = drain_job(config), config.lanes, config.head_lanes // config.lanes
    lane, cores = drain_lane(design, config), range(config.attention_cores)
    address, x_bits = bits_for(config.item_words), config.address_bits("x")

    def body(m: Module) -> dict[str, Any]:
        f, step, pipe, rights = job.unpack(m["job"]), Wire(1), m.pipeline(), m["rights"]
        place = _Place(m, step.signal, f, parts, address)
        item_end = step.signal & place.item_end
        run = running(m, m["start"], item_end, f, config.attention_units, config.attention_ways)
        start = step.signal & place.item_start
        there = select([
            credit(m, f"weighted_items_{core}", 3, give=m["weighted"][core], take=start & run.core.eq(core))
            for core in cores
        ], run.core)  # fmt: skip
        step.assign(all_of([run.active, rights.there, ~place.item_start | there]).named("step"))
        right_end = step.signal & place.token_last

        core, valid = pipe.at(run.core), pipe.valid(step.signal)
        total = Read(pipe.at(pack([place.pair, run.bank])), len(cores) * total_bits(config))
        whole = m.reg(select(total.data.chunks(total_bits(config)), core), "total_q")
        inverse = m.instance(reciprocal(design, total_bits(config)), "reciprocal", p=whole)
        where = pipe.at(pack([place.word, run.bank])).until(READ_STAGE)
        sums = Read(where, len(cores) * config.head_lanes * sum_bits(config), valid.until(READ_STAGE))
        word = select(sums.data.chunks(config.head_lanes * sum_bits(config)), core)
        picked = m.reg(select(word.chunks(lanes * sum_bits(config)), pipe.at(place.part)), "picked")
        shifts, high, results = (
            pipe.at(rights.data, RIGHT_FREED),
            m.reg(largest(m["bits"], X_BITS), "high").steady(),
            [],
        )
        for i, (total_, right) in enumerate(
            zip(picked.chunks(sum_bits(config)), shifts.chunks(RIGHT_BITS), strict=True)
        ):
            amount = right + inverse["length"].zext(AMOUNT_BITS)
            given = dict(sum=total_, r=inverse["r"], amount=amount, high=high)
            results.append(m.output_of(lane, f"lane_{i}", **given))
        rights.drive(taken=right_end, beat=const(0, 1), freed=pipe.valid(right_end).until(RIGHT_FREED).plain())
        result = pack(results)
        flags = pack([item_end, run.last_way, run.last_unit, run.last_item])
        writing, ends = (signal.until(result.cycle).plain() for signal in (valid, pipe.valid(flags)))
        read, freed = pipe.valid(item_end).until(READ_STAGE), core.until(READ_STAGE)
        done = m.reg(pipe.valid(item_end & run.final).until(result.cycle), "all_written").due(DONE)
        return dict(
            total=total, sums=sums, drained_free=pack([read & freed.eq(core) for core in cores]), done=done,
            x_write=Write(writing, _x_address(m, f, writing, *ends.chunks(1)), result.plain()),
        )  # fmt: skip

    inputs = {"start": 1, "job": job.width, "base": x_bits, "bits": BITS_BITS, "weighted": len(cores)}
    outputs: dict[str, Any] = {"total": total_port(config, len(cores)), "sums": sums_port(config, len(cores))}
    outputs |= {"drained_free": len(cores), "x_write": writes(config, "x"), "done": 1}
    return design.module("attention_drain", inputs | {"rights": rights_port(config)}, outputs, body)


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
