"""Softmax and AV: the weights of an item's scores, and the values they weight, summed into one of two banks.

Cycle by cycle after a beat's step:

    1  score, maximum and multiplier there    4  scaled     6  shifted: 16 fraction bits in log2
    2  distance                              10  weight; value word read before it    12  products, added to their sum

Of each of several rows; their products then take some cycles more.
"""

from __future__ import annotations

from lutllm.lowering.hardware.attention.attention_parameters import ADDRESS_BITS, MULTIPLIER_BITS
from lutllm.lowering.hardware.attention.attention_walk import causal_walk, job_fields, resized, running
from lutllm.lowering.hardware.attention.dot import dot, dot_latency, tree
from lutllm.lowering.hardware.attention.row_buffer import row_buffer
from lutllm.lowering.hardware.attention.scores import SCORE_BITS, score_places
from lutllm.lowering.hardware.lib.arithmetic import round_shift_staged
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.functions import EXP2_LATENCY, POWER_BITS, exp2_negative
from lutllm.lowering.hardware.lib.memory import ram
from lutllm.lowering.hardware.lib.signal import Fields, Signal, all_of, const, mux, pack
from lutllm.lowering.hardware.lib.state import credit
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.numerics import bits_for
from lutllm.quantization import CACHE_BITS

SHIFT_BITS = 6  # the verifier bounds the shift of lut.attention to 47
WEIGHT_STAGE = 6 + EXP2_LATENCY  # the weight of a beat is there


def weighted_latency(config: AcceleratorConfig) -> int:
    """Cycles from an item's last step until `weighted`."""
    return WEIGHT_STAGE + 1 + dot_latency(config.attention_rows)


def total_bits(config: AcceleratorConfig) -> int:
    """Of a sum of weights: 2**15 for each row at most, unsigned."""
    return POWER_BITS + bits_for(config.context)


def sum_bits(config: AcceleratorConfig) -> int:
    """Of a sum of weighted values: -2**22 for each row at least, signed."""
    return 23 + bits_for(config.context)


def weighted_lane(design: Design, config: AcceleratorConfig) -> str:
    """One channel: `weights` times `values` of all rows are added, `dot_latency` later (when `add` comes), to the word
    read a cycle before.

    `drained` is the word of `drain_bank`; see `linear.accumulate`, whose lane this is with a multiplier before it.
    """
    bits, words, rows = sum_bits(config), config.item_words, config.attention_rows
    products = dot(design, rows, signed=False)

    def body(m: Module) -> dict[str, Signal]:
        product = m.output_of(products, "products", a=m["weights"], b=m["values"])
        store, total, stored = ram(design, words, bits), Wire(bits), []
        for b in range(2):
            write = dict(we=m["add"] & m["bank"].eq(b), wa=m["write_address"], wd=total.signal)
            stored.append(m.output_of(store, f"bank_{b}", re=m[f"read_{b}"], ra=m[f"read_address_{b}"], **write))
        last_sum = m.reg(total.signal, "last_sum", enable=m["add"])
        base = mux(m["forward"], last_sum, mux(m["bank"], stored[1], stored[0]))
        product = product.sext(max(bits, product.width))[0:bits]
        total.assign(mux(m["first"], const(0, bits), base) + product)
        return dict(drained=mux(m["drain_bank"], stored[1], stored[0]))

    address = bits_for(words)
    inputs = {"weights": rows * POWER_BITS, "values": rows * CACHE_BITS, "add": 1, "first": 1, "forward": 1, "bank": 1}
    inputs |= {"write_address": address, "drain_bank": 1}
    inputs |= {"read_0": 1, "read_1": 1, "read_address_0": address, "read_address_1": address}
    return design.module("weighted_lane", inputs, {"drained": bits}, body, reset=False)


def _beat_fields(config: AcceleratorConfig) -> Fields:
    """What a beat carries from its step to its sum."""
    address = bits_for(config.item_words)
    return Fields(
        valid=1, bank=1, first_row=1, first_beat=1, row_end=1, item_end=1,
        beat=bits_for(config.head_beats), word=address, pair=address,
    )  # fmt: skip


def attention_weighted(design: Design, config: AcceleratorConfig) -> str:
    """Stream v in. `scored`, `loaded`, `drained_free` are items to begin: scores, multipliers, a bank for sums.

    `weighted`: an item's sums are there, to be read at `drain_address` a cycle after `drain_read` (`drained`), and at
    `total_address` at once (`total`); the bank is an address' top bit. `scores_free`: all scores of an item were read.
    """
    job, fields = job_fields(config), _beat_fields(config)
    values = row_buffer(design, config.rows_bits, config.head_beats, WEIGHT_STAGE)
    score_bits, address = bits_for(score_places(config)), bits_for(config.item_words)

    def body(m: Module) -> dict[str, Signal]:
        f = job.unpack(m["job"])
        step = Wire(1)
        walk = causal_walk(m, step.signal, f, config)
        item_end = step.signal & walk.item_end
        run = running(m, m["start"], item_end, f)
        bank = run.bank
        begin = step.signal & walk.item_start
        may_begin = all_of([
            credit(m, "scored_items", 3, give=m["scored"], take=begin),
            credit(m, "loaded_items", 3, give=m["loaded"], take=begin),
            credit(m, "sum_banks", 3, give=m["drained_free"], take=begin, initial=2),
        ]).named("may_begin")  # fmt: skip
        beat = fields.pack(
            valid=step.signal, bank=bank, first_row=walk.first_row, first_beat=walk.beat.eq(0), row_end=walk.row_end,
            item_end=walk.item_end, beat=walk.beat, word=walk.word, pair=walk.pair,
        )  # fmt: skip
        reading = fields.unpack(m.reg(beat, "beat", cycles=WEIGHT_STAGE - 1, reset=0))
        row = m.instance(
            values, "values", in_valid=m["v_valid"], in_data=m["v_data"], beats=f["beats"],
            taken=step.signal & walk.row_end, beat=reading["beat"], freed=reading["valid"] & reading["row_end"],
        )  # fmt: skip
        step.assign((run.active & row["there"] & (~walk.item_start | may_begin)).named("step"))
        position = m.counter(score_bits, "score_position", step=step.signal & walk.last_beat, last=walk.item_end)
        seen = [const(1, 1), *(m.reg(flag, "seen", cycles=WEIGHT_STAGE - 2) for flag in walk.seen)]
        weights = _weights(m, seen)
        drained = _sums(m, config, reading, weights, m.reg(row["data"], "value"))
        return drained | dict(
            v_ready=row["in_ready"],
            score_read=step.signal,
            score_address=pack([position, bank]),
            pair_address=m.reg(pack([walk.pair, bank]), "pair_address_q"),
            multiplier_address=m.reg(pack([walk.rep, bank]), "multiplier_address_q"),
            item_read=item_end,
            busy=step.signal,
        )

    inputs = {"start": 1, "job": job.width, "shift": SHIFT_BITS, "v_valid": 1, "v_data": config.rows_bits, "scored": 1}
    inputs |= {"loaded": 1, "drained_free": 1, "maximum": SCORE_BITS}
    inputs |= {"score": config.attention_rows * SCORE_BITS}
    inputs |= {"multiplier": MULTIPLIER_BITS, "drain_read": 1, "drain_address": address + 1}
    inputs |= {"total_address": address + 1}
    outputs = {"v_ready": 1, "score_read": 1, "score_address": score_bits + 1, "pair_address": address + 1}
    outputs |= {"multiplier_address": ADDRESS_BITS, "item_read": 1, "busy": 1, "weighted": 1}
    outputs |= {"drained": config.head_lanes * sum_bits(config), "total": total_bits(config)}
    return design.module("attention_weighted", inputs, outputs, body)


def _weights(m: Module, seen: list[Signal]) -> list[Signal]:
    """The weights of the scores of a step, `WEIGHT_STAGE` cycles after it; 0 of rows that its pair does not see."""
    width, multiplier, found = SCORE_BITS + MULTIPLIER_BITS, m.reg(m["multiplier"], "multiplier_q"), []
    for i, (score, sees) in enumerate(zip(m["score"].chunks(SCORE_BITS), seen, strict=True)):
        # The maximum is no smaller, so the difference fits 32 bits unsigned.
        away = m.reg(m["maximum"] - score, f"away_{i}")
        scaled = m.reg(away.zext(width) * multiplier.zext(width), f"scaled_{i}", cycles=2)
        t = round_shift_staged(m, scaled.zext(width + 1), m["shift"], width + 1)
        weight = m.output_of(exp2_negative(m.design, width + 1), f"exp2_{i}", t=t)
        found.append(mux(sees, weight, const(0, weight.width)) if i else weight)
    return found


def _sums(
    m: Module, config: AcceleratorConfig, reading: dict[str, Signal], weights: list[Signal], values: Signal
) -> dict[str, Signal]:
    """Add what `values` weigh to their sums and the weights to their total; their beat is `reading`, a cycle ago."""
    lane, names = weighted_lane(m.design, config), ("bank", "first_row", "first_beat", "item_end", "word", "pair")
    late = dot_latency(config.attention_rows)
    beat = {name: m.reg(reading[name], f"{name}_before_sum", cycles=late) for name in names}  # reads its sums
    beat["valid"] = m.reg(reading["valid"], "valid_before_sum", cycles=late, reset=0)
    now = {name: m.reg(s, f"{name}_at_sum", reset=0 if name == "valid" else None) for name, s in beat.items()}
    same = beat["word"].eq(now["word"]) & beat["bank"].eq(now["bank"])
    drain, drain_bank = m["drain_address"][0 : now["word"].width], m["drain_address"][now["word"].width]
    shared = dict(
        weights=pack(weights), add=now["valid"], first=now["first_row"], bank=now["bank"], write_address=now["word"]
    )
    shared |= dict(forward=m.reg(now["valid"] & same, "forward"), drain_bank=m.reg(drain_bank, "drain_bank_q"))
    for b in range(2):
        summing = beat["valid"] & beat["bank"].eq(b)
        shared[f"read_{b}"] = summing | (m["drain_read"] & drain_bank.eq(b))
        shared[f"read_address_{b}"] = mux(summing, beat["word"], drain)
    rows = [row.chunks(CACHE_BITS) for row in values.chunks(config.row_bits)]
    lanes = [
        m.output_of(lane, f"lane_{i}", values=pack(list(of)), **shared) for i, of in enumerate(zip(*rows, strict=True))
    ]
    bits = POWER_BITS + len(weights).bit_length()  # unsigned
    total = _totals(m, config, now, tree(m, [weight.zext(bits) for weight in weights], bits, "weights", late))
    return dict(drained=pack(lanes), total=total, weighted=m.reg(now["valid"] & now["item_end"], "weighted_q", reset=0))


def _totals(m: Module, config: AcceleratorConfig, beat: dict[str, Signal], weight: Signal) -> Signal:
    """The sums of weights, read, added to and written within a cycle, and once more, banked, for the drain."""
    bits, address = total_bits(config), bits_for(config.item_words)
    write, total = (beat["valid"] & beat["first_beat"]).named("total_write"), Wire(bits)
    running_store = ram(m.design, 1 << address, bits, read_latency=0)
    so_far = m.output_of(running_store, "running", we=write, wa=beat["pair"], wd=total.signal, ra=beat["pair"])
    total.assign(mux(beat["first_row"], const(0, bits), so_far) + resized(weight, bits))
    return m.output_of(
        ram(m.design, 2 << address, bits, read_latency=0), "totals", we=write,
        wa=pack([beat["pair"], beat["bank"]]), wd=total.signal, ra=m["total_address"],
    )  # fmt: skip
