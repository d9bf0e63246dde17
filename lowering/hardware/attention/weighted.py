"""Softmax and AV: the weights of an item's scores, and the values they weight, summed into one of two banks.

Cycle by cycle after a beat's step:

    1  score, maximum and multiplier there    4  scaled     6  shifted: 16 fraction bits in log2
    2  distance                              10  weight; value word read before it    12  products, added to their sum

Of each of several rows; their products then take some cycles more. In mode softcap the distance in log2 comes later.
"""

from __future__ import annotations

from typing import Any

from lutllm.lowering.hardware.attention.attention_parameters import MULTIPLIER_BITS, multiplier_port
from lutllm.lowering.hardware.attention.attention_walk import causal_walk, job_fields, resized, running
from lutllm.lowering.hardware.attention.capped import CAPPED_LATENCY, SOFTCAP_BITS, capped_distances
from lutllm.lowering.hardware.attention.dot import dot, dot_latency, tree
from lutllm.lowering.hardware.attention.row_buffer import row_buffer
from lutllm.lowering.hardware.attention.scores import SCORE_BITS, maximum_port, score_places, score_port
from lutllm.lowering.hardware.lib.arithmetic import round_shift_staged
from lutllm.lowering.hardware.lib.bundle import Bundle, Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.functions import EXP2_LATENCY, POWER_BITS, exp2_negative
from lutllm.lowering.hardware.lib.memory import stored
from lutllm.lowering.hardware.lib.signal import Signal, all_of, const, mux, pack
from lutllm.lowering.hardware.lib.state import credit
from lutllm.lowering.hardware.lib.stream import Read, Stream
from lutllm.lowering.hardware.linear.accumulate import banked, banked_inputs, banked_sum
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.numerics import bits_for
from lutllm.quantization import CACHE_BITS

SHIFT_BITS = 6  # the verifier bounds the shift of lut.attention to 47
_DISTANCE_BITS = SCORE_BITS + MULTIPLIER_BITS + 1  # in log2


def weight_stage(config: AcceleratorConfig) -> int:
    """The cycle in which the weight of a beat is there."""
    return 6 + EXP2_LATENCY + (CAPPED_LATENCY if "softcap" in config.modes else 0)


def weighted_latency(config: AcceleratorConfig) -> int:
    """Cycles from an item's last step until `weighted`."""
    return weight_stage(config) + 1 + dot_latency(config.attention_rows)


def total_bits(config: AcceleratorConfig) -> int:
    """Of a sum of weights: 2**15 for each row at most, unsigned."""
    return POWER_BITS + bits_for(config.context)


def sum_bits(config: AcceleratorConfig) -> int:
    """Of a sum of weighted values: -2**22 for each row at least, signed."""
    return 23 + bits_for(config.context)


def sums_port(config: AcceleratorConfig, cores: int) -> Bundle:
    """A port that reads a word of sums of each of some cores; the bank is the top bit of its address."""
    return Read.of(bits_for(config.item_words) + 1, cores * config.head_lanes * sum_bits(config))


def total_port(config: AcceleratorConfig, cores: int) -> Bundle:
    """A port that reads the total of a pair of each of some cores, at once."""
    return Read.of(bits_for(config.item_words) + 1, cores * total_bits(config), enable=False)


def weighted_lane(design: Design, config: AcceleratorConfig) -> str:
    """One channel: `weights` times `values` of all rows are added, `dot_latency` later (when `add` comes), to the word
    read a cycle before.

    See `linear.accumulate`, whose lane this is with a multiplier before it.
    """
    bits, rows = sum_bits(config), config.attention_rows
    products = dot(design, rows, signed=False)

    def body(m: Module) -> dict[str, Signal]:
        product = m.output_of(products, "products", a=m["weights"], b=m["values"])
        return dict(drained=banked_sum(m, config.item_words, product.sext(max(bits, product.width))[0:bits]))

    inputs = {"weights": rows * POWER_BITS, "values": rows * CACHE_BITS} | banked_inputs(config.item_words)
    return design.module("weighted_lane", inputs, {"drained": bits}, body, reset=False)


def attention_weighted(design: Design, config: AcceleratorConfig) -> str:
    """Stream v in. `scored`, `loaded`, `drained_free` are items to begin: scores, multipliers, a bank for sums. Reads
    `score`, `maximum`, `multiplier`.

    `weighted`: an item's sums are there, at `sums` and `total`; `item_read`: all its scores were read.
    """
    job = job_fields(config)
    values = row_buffer(design, config.rows_bits, config.head_beats, weight_stage(config))
    score_bits = bits_for(score_places(config))

    def body(m: Module) -> dict[str, Any]:
        f, step, pipe = job.unpack(m["job"]), Wire(1), m.pipeline()
        walk = causal_walk(m, step.signal, f, config)
        item_end = step.signal & walk.item_end
        run = running(m, m["start"], item_end, f)
        begin = step.signal & walk.item_start
        may_begin = all_of([
            credit(m, "scored_items", 3, give=m["scored"], take=begin),
            credit(m, "loaded_items", 3, give=m["loaded"], take=begin),
            credit(m, "sum_banks", 3, give=m["drained_free"], take=begin, initial=2),
        ]).named("may_begin")  # fmt: skip
        beat = dict(bank=run.bank, first_row=walk.first_row, first_beat=walk.beat.eq(0), item_end=walk.item_end)
        beat |= dict(word=walk.word, pair=walk.pair)
        beat = {name: pipe.at(signal) for name, signal in beat.items()} | dict(valid=pipe.valid(step.signal))
        rows = m.output_of(values, "values", **{"in": m["v"]}, beats=f["beats"])
        step.assign((run.active & rows.there & (~walk.item_start | may_begin)).named("step"))
        position = m.counter(score_bits, "score_position", step=step.signal & walk.last_beat, last=walk.item_end)

        score = Read(pipe.at(pack([position, run.bank])), config.attention_rows * SCORE_BITS, beat["valid"])
        pair, rep = (m.reg(pipe.at(pack([place, run.bank])), "place_q") for place in (walk.pair, walk.rep))
        maximum, multiplier = Read(pair, SCORE_BITS), Read(rep, MULTIPLIER_BITS)
        seen = [pipe.at(flag, 2) for flag in walk.seen]
        distances = capped_distances if "softcap" in config.modes else _distances
        away = distances(m, score.data, maximum.data, multiplier.data)
        weights = pack(_weights(m, away, seen)).due(weight_stage(config))
        # The value word is read just before the weights that it meets.
        at, ends = weights.cycle - 1, pipe.valid(step.signal & walk.row_end)
        word, freed = pipe.at(walk.beat).until(at).plain(), ends.until(at).plain()
        rows.drive(taken=step.signal & walk.row_end, beat=word, freed=freed)
        weighted = _sums(m, config, beat, weights, m.reg(pipe.at(rows.data, at), "value"))
        weighted.due(weighted_latency(config))
        reading = dict(score=score, maximum=maximum, multiplier=multiplier)
        return reading | dict(item_read=item_end, busy=step.signal, weighted=weighted)

    inputs = {"start": 1, "job": job.width, "shift": SHIFT_BITS, "v": Stream.of(config.rows_bits), "scored": 1}
    inputs |= {"softcap": SOFTCAP_BITS} if "softcap" in config.modes else {}
    inputs |= {"loaded": 1, "drained_free": 1, "sums": sums_port(config, 1), "total": total_port(config, 1)}
    outputs = {"score": score_port(config), "maximum": maximum_port(config), "multiplier": multiplier_port()}
    return design.module("attention_weighted", inputs, outputs | {"item_read": 1, "busy": 1, "weighted": 1}, body)


def _distances(m: Module, scores: Signal, maximum: Signal, multiplier: Signal) -> list[Signal]:
    """How far the scores of a step are from their pair's maximum, in log2."""
    width, multiplier, found = _DISTANCE_BITS - 1, m.reg(multiplier, "multiplier_q"), []
    for i, score in enumerate(scores.chunks(SCORE_BITS)):
        # The maximum is no smaller, so the difference fits 32 bits unsigned.
        away = m.reg(maximum - score, f"away_{i}")
        scaled = m.reg(away.zext(width) * multiplier.zext(width), f"scaled_{i}", cycles=2)
        found.append(round_shift_staged(m, scaled.zext(width + 1), m["shift"].steady(), width + 1))
    return found


def _weights(m: Module, distances: list[Signal], seen: list[Signal]) -> list[Signal]:
    """The weights of the rows of a step; 0 of those that its pair does not see."""
    always, found = len(distances) - len(seen), []
    for i, t in enumerate(distances):
        weight = m.output_of(exp2_negative(m.design, t.width), f"exp2_{i}", t=t)
        found.append(weight if i < always else mux(seen[i - always], weight, const(0, weight.width)))
    return found


def _sums(m: Module, config: AcceleratorConfig, beat: dict[str, Signal], weights: Signal, values: Signal) -> Signal:
    """Add what `values` weigh to their sums and the weights to their total; returns whether those of an item are
    there."""
    lane, weight = weighted_lane(m.design, config), weights.chunks(POWER_BITS)
    at = weights.cycle + dot_latency(config.attention_rows)
    before, now = ({name: s.until(cycle).plain() for name, s in beat.items()} for cycle in (at - 1, at))
    places = [(each["valid"], each["bank"], each["word"]) for each in (before, now)]
    shared = banked(m, places[0], places[1], now["first_row"], m["sums"]) | dict(weights=weights.plain())
    rows = [row.chunks(CACHE_BITS) for row in values.plain().chunks(config.row_bits)]
    lanes = [
        m.output_of(lane, f"lane_{i}", values=pack(list(of)), **shared) for i, of in enumerate(zip(*rows, strict=True))
    ]
    m["sums"].drive(data=pack(lanes))
    bits = POWER_BITS + len(weight).bit_length()  # unsigned
    _totals(m, config, now, tree(m, [w.zext(bits) for w in weight], bits, "weights").until(at).plain())
    return m.reg(beat["valid"] & beat["item_end"].until(at), "weighted_q")


def _totals(m: Module, config: AcceleratorConfig, beat: dict[str, Signal], weight: Signal) -> None:
    """The sums of weights, read, added to and written within a cycle, and once more, banked, for the drain."""
    bits, pairs = total_bits(config), 1 << bits_for(config.item_words)
    write, total = (beat["valid"] & beat["first_beat"]).named("total_write"), Wire(bits)
    so_far = stored(m, "running", pairs, write=(write, beat["pair"], total.signal), read=beat["pair"])
    total.assign(mux(beat["first_row"], const(0, bits), so_far) + resized(weight, bits))
    written = (write, pack([beat["pair"], beat["bank"]]), total.signal)
    m["total"].drive(data=stored(m, "totals", 2 * pairs, write=written, read=m["total"].address))
