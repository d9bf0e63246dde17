"""The requantizer drains a finished round: y = clamp(round_shift((acc + bias) * multiplier, shift)).

`requant_lanes` outputs a cycle, in the order chunk, part of a chunk, token; stream q brings a word of {bias,
multiplier} for each part. Results wait in a FIFO whose room is counted before a word is read, so nothing stalls.
"""

from collections.abc import Mapping

from lutllm.lowering.hardware.lib.circt import (
    Design,
    Levels,
    Module,
    Signal,
    Wire,
    all_of,
    const,
    credit,
    delay,
    loop_nest,
    mux,
    pack,
    round_shift,
    select,
)
from lutllm.lowering.hardware.lib.memory import buffered
from lutllm.lowering.hardware.linear import records
from lutllm.lowering.hardware.linear.control import chunks_of_block
from lutllm.lowering.hardware.linear.front import held_round
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.numerics import bits_for
from lutllm.scheme import MULTIPLIER_BITS

SHIFT_BITS = 6
ROUND = records.ROUND.subset("shift", "tokens", "blocks", "block_chunks", "last_chunks")
LATENCY = 5  # cycles from reading a sum to its result
FIFO_DEPTH = 16
ACC_FREE = 1  # cycles from reading a round's last sum until `acc_free`


def results_depth(depths: Mapping[str, int]) -> int:
    return depths.get("results", FIFO_DEPTH)


def requantizer_lane(design: Design, config: EngineConfig) -> str:
    """One output: `result` four cycles after `acc`, `bias` and `multiplier`; `shift` is steady during a round."""
    wide = config.acc_bits + bool(config.bias_bits)
    product_bits = wide + MULTIPLIER_BITS

    def body(m: Module) -> dict[str, Signal]:
        acc = m["acc"].sext(wide)
        biased = m.reg(acc + m["bias"].sext(wide) if config.bias_bits else acc, "biased").sext(product_bits)
        multiplier = m.reg(m["multiplier"], "multiplier_q").sext(product_bits)
        product = delay(m, biased * multiplier, 2, "product")  # two registers for the multiplier to retime into
        rounded = round_shift(product, m["shift"], product_bits)
        high, low = (1 << (config.out_bits - 1)) - 1, -(1 << (config.out_bits - 1))
        clamped = mux(rounded.slt(low), const(low, product_bits), rounded)
        clamped = mux(const(high, product_bits).slt(rounded), const(high, product_bits), clamped)
        return dict(result=m.reg(clamped[0 : config.out_bits], "result_q"))

    inputs = {"acc": config.acc_bits, "multiplier": MULTIPLIER_BITS, "shift": SHIFT_BITS}
    inputs |= {"bias": config.bias_bits} if config.bias_bits else {}
    return design.module("requantizer_lane", inputs, {"result": config.out_bits}, body, reset=False)


def requantizer(design: Design, config: EngineConfig, depth: int = FIFO_DEPTH) -> str:
    """Streams in: `round`, `q`. `round_done` pulses of the accumulator; drives its `drain_*`. Stream out: `y`.
    `acc_free` says that a bank is drained. Room for `depth` results."""
    lane, parts = requantizer_lane(design, config), config.lanes // config.requant_lanes
    address_bits = bits_for(config.acc_words)

    def body(m: Module) -> dict[str, Signal]:
        issue, done = Wire(1), Wire(1)
        busy, f, ready = held_round(m, "drain", ROUND, done.signal)
        levels: Levels = [("block", f["blocks"]), ("chunk", chunks_of_block(f)), ("part", const(parts, 16))]
        index, last, at_first = loop_nest(m, issue.signal, [*levels, ("token", f["tokens"])])
        round_first = all_of(list(at_first.values())).named("round_first")
        pop = Wire(1)
        room = credit(m, "room", bits_for(depth + 1), give=pop.signal, take=issue.signal, initial=depth)
        sums = credit(m, "rounds", 2, give=m["round_done"], take=issue.signal & round_first)
        issue.assign(all_of([busy, m["q_valid"], room, ~round_first | sums]))
        done.assign(all_of([issue.signal, *last.values()]))
        bank = m.state(1, "bank", reset=0)
        bank.set(~bank.signal, done.signal)

        chunk_last = last["part"] & last["token"]
        base = m.state(address_bits, "chunk_address", reset=0)
        following = mux(done.signal, const(0, address_bits), base.signal + f["tokens"][0:address_bits])
        base.set(following, issue.signal & chunk_last)

        part = m.reg(index["part"][0 : bits_for(parts)], "part_q")
        taken = select(m["drained"].chunks(config.requant_lanes * config.acc_bits), part).named("taken")
        used = config.bias_bits + MULTIPLIER_BITS
        given = pack([word[0:used] for word in m["q_data"].chunks(config.word_bits["q"] // config.requant_lanes)])
        parameters = m.reg(given, "parameters", enable=issue.signal).chunks(used)
        shift = m.reg(f["shift"], "shift_q", enable=delay(m, issue.signal, 1, "issued", reset=0))
        shift = delay(m, shift, 2, "shift_late")
        results = []
        for i, acc in enumerate(taken.chunks(config.acc_bits)):
            inputs = dict(acc=acc, multiplier=parameters[i][config.bias_bits :], shift=shift)
            inputs |= dict(bias=parameters[i][0 : config.bias_bits]) if config.bias_bits else {}
            results.append(m.output_of(lane, f"lane_{i}", **inputs))
        valid = delay(m, issue.signal, LATENCY, "valid", reset=0)
        out, _ = buffered(m, "results", valid, pack(results), depth)
        out.ready.assign(m["y_ready"])
        pop.assign(out.valid & m["y_ready"])
        return dict(
            round_ready=ready,
            q_ready=issue.signal & last["token"],
            drain_read=issue.signal,
            drain_bank=bank.signal,
            drain_address=base.signal + index["token"][0:address_bits],
            acc_free=delay(m, done.signal, ACC_FREE, "acc_free_q", reset=0),
            y_valid=out.valid,
            y_data=out.data,
        )

    inputs = {"round_valid": 1, "round_data": ROUND.width, "q_valid": 1, "q_data": config.word_bits["q"]}
    inputs |= {"round_done": 1, "drained": config.lanes * config.acc_bits, "y_ready": 1}
    outputs = {"round_ready": 1, "q_ready": 1, "drain_read": 1, "drain_bank": 1, "drain_address": address_bits}
    outputs |= {"acc_free": 1, "y_valid": 1, "y_data": config.word_bits["y"]}
    return design.module("requantizer", inputs, outputs, body)
