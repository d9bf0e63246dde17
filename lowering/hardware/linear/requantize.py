"""The requantizer drains a finished round: y = clamp(round_shift((acc + bias) * multiplier, shift)).

`requant_lanes` outputs a cycle, in the order chunk, part of a chunk, token; stream q brings a word of {bias,
multiplier} for each part. Results wait in a FIFO whose room is counted before a word is read, so nothing stalls.
"""

from collections.abc import Mapping
from typing import Any

from lutllm.lowering.hardware.lib.arithmetic import rounded_later
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, all_of, const, mux, pack, select
from lutllm.lowering.hardware.lib.state import Levels, credit, loop_nest
from lutllm.lowering.hardware.lib.stream import Read, Stream
from lutllm.lowering.hardware.linear import records
from lutllm.lowering.hardware.linear.accumulate import drain_port
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
    """One output: `result` of `acc`, `bias` and `multiplier`, rounded by `shift`."""
    wide = config.acc_bits + bool(config.bias_bits)
    product_bits = wide + MULTIPLIER_BITS

    def body(m: Module) -> dict[str, Signal]:
        acc = m["acc"].sext(wide)
        biased = m.reg(acc + m["bias"].sext(wide) if config.bias_bits else acc, "biased").sext(product_bits)
        product = m.reg(biased * m["multiplier"].sext(product_bits), "product")
        rounded = rounded_later(m, product, m["shift"], "shifted")
        high, low = (1 << (config.out_bits - 1)) - 1, -(1 << (config.out_bits - 1))
        clamped = mux(rounded.slt(low), const(low, product_bits), rounded)
        clamped = mux(const(high, product_bits).slt(rounded), const(high, product_bits), clamped)
        return dict(result=m.reg(clamped[0 : config.out_bits], "result_q"))

    inputs = {"acc": config.acc_bits, "multiplier": MULTIPLIER_BITS, "shift": SHIFT_BITS}
    inputs |= {"bias": config.bias_bits} if config.bias_bits else {}
    return design.pipeline("requantizer_lane", inputs, {"result": config.out_bits}, body)


def requantizer(design: Design, config: EngineConfig, depth: int = FIFO_DEPTH) -> str:
    """Streams in: `round`, `q`; out: `y`. `round_done` pulses of the accumulator, whose sums are read at `drain`.
    `acc_free` says that a bank is drained. Room for `depth` results."""
    lane, parts = requantizer_lane(design, config), config.lanes // config.requant_lanes
    address_bits = bits_for(config.acc_words)

    def body(m: Module) -> dict[str, Any]:
        issue, done, pop = Wire(1), Wire(1), Wire(1)
        busy, f = held_round(m, "drain", ROUND, done.signal)
        levels: Levels = [("block", f["blocks"]), ("chunk", chunks_of_block(f)), ("part", const(parts, 16))]
        index, last, at_first = loop_nest(m, issue.signal, [*levels, ("token", f["tokens"])])
        round_first = all_of(list(at_first.values())).named("round_first")
        room = credit(m, "room", depth, give=pop.signal, take=issue.signal, initial=depth)
        sums = credit(m, "rounds", 3, give=m["round_done"], take=issue.signal & round_first)
        issue.assign(all_of([busy, m["q"].valid, room, ~round_first | sums]))
        done.assign(all_of([issue.signal, *last.values()]))
        m["q"].drive(ready=issue.signal & last["token"])
        bank = m.counter(1, "bank", step=done.signal)
        base = m.state(address_bits, "chunk_address", reset=0)
        following = mux(done.signal, const(0, address_bits), base.signal + f["tokens"][0:address_bits])
        base.set(following, all_of([issue.signal, last["part"], last["token"]]))

        pipe = m.pipeline()
        step, part = pipe.valid(issue.signal), pipe.at(index["part"][0 : bits_for(parts)])
        place = pipe.at(pack([base.signal + index["token"][0:address_bits], bank]))
        drain = Read(place, config.lanes * config.acc_bits, step)
        taken = select(drain.data.chunks(config.requant_lanes * config.acc_bits), part).named("taken")
        used = config.bias_bits + MULTIPLIER_BITS
        given = [word[0:used] for word in m["q"].data.chunks(config.word_bits["q"] // config.requant_lanes)]
        parameters = m.reg(pipe.at(pack(given)), "parameters", enable=step).chunks(used)
        shift = m.reg(pipe.at(f["shift"], 1), "shift_q", enable=step)  # the round is still held
        results = []
        for i, acc in enumerate(taken.chunks(config.acc_bits)):
            inputs = dict(acc=acc, multiplier=parameters[i][config.bias_bits :], shift=shift)
            inputs |= dict(bias=parameters[i][0 : config.bias_bits]) if config.bias_bits else {}
            results.append(m.output_of(lane, f"lane_{i}", **inputs))
        out = Stream(step, data=pack(results).due(LATENCY)).fifo(m, "results", depth)
        pop.assign(out.moves)
        return dict(drain=drain, acc_free=m.reg(done.signal, "acc_free_q", cycles=ACC_FREE, reset=0), y=out)

    inputs = {"round": Stream.of(ROUND.width), "q": Stream.of(config.word_bits["q"]), "round_done": 1}
    outputs = {"drain": drain_port(config), "acc_free": 1, "y": Stream.of(config.word_bits["y"])}
    return design.module("requantizer", inputs, outputs, body)
