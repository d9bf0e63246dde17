"""The accumulator: `lanes` running sums a word, two banks - one summing this round, one draining the last.

A beat reads its word a cycle before the chain's sums arrive and writes it in the cycle they do. A beat on the word of
the beat before it takes the sum from a register, since the RAM still reads the old one.
"""

from lutllm.lowering.hardware.lib.bundle import Bundle, Link, Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import stored
from lutllm.lowering.hardware.lib.signal import Signal, const, mux, pack
from lutllm.lowering.hardware.linear.records import accumulator_fields
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.numerics import bits_for

ROUND_DONE = 2  # cycles from a round's last beat until `round_done`


def accumulator_lane(design: Design, config: EngineConfig) -> str:
    """One lane: `add` puts `partial` on the word read a cycle ago from bank `bank`.

    `drained` is the word of `drain_bank`.
    """
    bits, address = config.acc_bits, bits_for(config.acc_words)

    def body(m: Module) -> dict[str, Signal]:
        total = Wire(bits)
        words = []
        for b in range(2):
            write = (m["add"] & m["bank"].eq(b), m["write_address"], total.signal)
            read = (m[f"read_{b}"], m[f"read_address_{b}"])
            words.append(stored(m, f"bank_{b}", config.acc_words, write=write, read=read))
        last_sum = m.reg(total.signal, "last_sum", enable=m["add"])
        base = mux(m["forward"], last_sum, mux(m["bank"], words[1], words[0]))
        total.assign(mux(m["first"], const(0, bits), base) + m["partial"].sext(bits))
        return dict(drained=mux(m["drain_bank"], words[1], words[0]))

    inputs = {"read_0": 1, "read_1": 1, "read_address_0": address, "read_address_1": address}
    inputs |= {"add": 1, "first": 1, "forward": 1, "bank": 1, "write_address": address, "partial": config.psum_bits}
    inputs |= {"drain_bank": 1}
    return design.module("accumulator_lane", inputs, {"drained": bits}, body, reset=False)


class Drain(Link):
    """A port that reads sums, a cycle later: `bank` and `address` of a word of them."""

    def __init__(self, read: Signal, bank: Signal, address: Signal, config: EngineConfig) -> None:
        super().__init__(dict(read=read, bank=bank, address=address), dict(data=Wire(config.lanes * config.acc_bits)))
        self.data.time = read.time.later(1)

    @staticmethod
    def of(config: EngineConfig) -> Bundle:
        return Bundle(
            dict(read=1, bank=1, address=bits_for(config.acc_words)), {"data": config.lanes * config.acc_bits}
        )


def accumulator(design: Design, config: EngineConfig) -> str:
    """In: `control` (a cycle before `sums`), `drain`. Out: `round_done` when a round's last sum is in."""
    lane, control = accumulator_lane(design, config), accumulator_fields(config)

    def body(m: Module) -> dict[str, Signal]:
        beat, drain = control.unpack(m["control"]), m["drain"]
        now = {name: m.reg(value, f"{name}_q", reset=0 if name == "valid" else None) for name, value in beat.items()}
        same = now["address"].eq(beat["address"]) & now["acc_bank"].eq(beat["acc_bank"])
        forward = m.reg(now["valid"] & same, "forward")
        shared = dict(add=now["valid"], first=now["first_step"], forward=forward, bank=now["acc_bank"])
        shared |= dict(write_address=now["address"], drain_bank=m.reg(drain.bank, "drain_bank_q"))
        for b in range(2):
            summing = beat["valid"] & beat["acc_bank"].eq(b)
            shared[f"read_{b}"] = summing | (drain.read & drain.bank.eq(b))
            shared[f"read_address_{b}"] = mux(summing, beat["address"], drain.address)
        drained = [
            m.output_of(lane, f"lane_{i}", partial=partial, **shared)
            for i, partial in enumerate(m["sums"].chunks(config.psum_bits))
        ]
        drain.drive(data=pack(drained))
        return dict(round_done=m.reg(now["valid"] & now["round_last"], "round_done_q", reset=0))

    inputs = {"control": control.width, "sums": config.lanes * config.psum_bits, "drain": Drain.of(config)}
    return design.module("accumulator", inputs, {"round_done": 1}, body)
