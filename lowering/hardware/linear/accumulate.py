"""The accumulator: `lanes` running sums a word, two banks - one summing this round, one draining the last.

A beat reads its word a cycle before the chain's sums arrive and writes it in the cycle they do. A beat on the word of
the beat before it takes the sum from a register, since the RAM still reads the old one.
"""

from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, Wire, const, mux, pack
from lutllm.lowering.hardware.lib.memory import ram
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
        store = ram(design, config.acc_words, bits)
        total = Wire(bits)
        words = []
        for b in range(2):
            write = dict(we=m["add"] & m["bank"].eq(b), wa=m["write_address"], wd=total.signal)
            words.append(m.output_of(store, f"bank_{b}", re=m[f"read_{b}"], ra=m[f"read_address_{b}"], **write))
        last_sum = m.reg(total.signal, "last_sum", enable=m["add"])
        base = mux(m["forward"], last_sum, mux(m["bank"], words[1], words[0]))
        total.assign(mux(m["first"], const(0, bits), base) + m["partial"].sext(bits))
        return dict(drained=mux(m["drain_bank"], words[1], words[0]))

    inputs = {"read_0": 1, "read_1": 1, "read_address_0": address, "read_address_1": address}
    inputs |= {"add": 1, "first": 1, "forward": 1, "bank": 1, "write_address": address, "partial": config.psum_bits}
    inputs |= {"drain_bank": 1}
    return design.module("accumulator_lane", inputs, {"drained": bits}, body, reset=False)


def accumulator(design: Design, config: EngineConfig) -> str:
    """In: `control` (a cycle before `sums`), `drain_read` with `drain_bank` and `drain_address`.

    Out: `drained`, a cycle after `drain_read`; `round_done` when a round's last sum is in.
    """
    lane, control = accumulator_lane(design, config), accumulator_fields(config)
    address = bits_for(config.acc_words)

    def body(m: Module) -> dict[str, Signal]:
        beat = control.unpack(m["control"])
        now = {name: m.reg(value, f"{name}_q", reset=0 if name == "valid" else None) for name, value in beat.items()}
        same = now["address"].eq(beat["address"]) & now["acc_bank"].eq(beat["acc_bank"])
        forward = m.reg(now["valid"] & same, "forward")
        shared = dict(add=now["valid"], first=now["first_step"], forward=forward, bank=now["acc_bank"])
        shared |= dict(write_address=now["address"], drain_bank=m.reg(m["drain_bank"], "drain_bank_q"))
        for b in range(2):
            summing = beat["valid"] & beat["acc_bank"].eq(b)
            shared[f"read_{b}"] = summing | (m["drain_read"] & m["drain_bank"].eq(b))
            shared[f"read_address_{b}"] = mux(summing, beat["address"], m["drain_address"])
        drained = [
            m.output_of(lane, f"lane_{i}", partial=partial, **shared)
            for i, partial in enumerate(m["sums"].chunks(config.psum_bits))
        ]
        return dict(drained=pack(drained), round_done=m.reg(now["valid"] & now["round_last"], "round_done_q", reset=0))

    inputs = {"control": control.width, "sums": config.lanes * config.psum_bits}
    inputs |= {"drain_read": 1, "drain_bank": 1, "drain_address": address}
    return design.module("accumulator", inputs, {"drained": config.lanes * config.acc_bits, "round_done": 1}, body)
