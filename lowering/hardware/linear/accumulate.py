"""The accumulator: `lanes` running sums a word, two banks - one summing this round, one draining the last.

A beat reads its word a cycle before the chain's sums arrive and writes it in the cycle they do. A beat on the word of
the beat before it takes the sum from a register, since the RAM still reads the old one.
"""

from lutllm.lowering.hardware.lib.bundle import Bundle, Link, Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import stored
from lutllm.lowering.hardware.lib.signal import Signal, all_of, const, mux, pack
from lutllm.lowering.hardware.lib.stream import Read
from lutllm.lowering.hardware.linear.records import accumulator_fields
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.numerics import bits_for

Beat = tuple[Signal, Signal, Signal]  # valid, bank, address
ROUND_DONE = 2  # cycles from a round's last beat until `round_done`


def banked_inputs(words: int) -> dict[str, int]:
    """What a lane of sums in two banks of `words` is told, beside what it adds."""
    address = bits_for(words)
    one = ("read_0", "read_1", "add", "first", "forward", "bank", "drain_bank")
    return dict.fromkeys(one, 1) | dict.fromkeys(("read_address_0", "read_address_1", "write_address"), address)


def banked_sum(m: Module, words: int, term: Signal) -> Signal:
    """`add` puts `term` on the word read a cycle ago from bank `bank`; returns the word of `drain_bank`."""
    total, found = Wire(term.width), []
    for b in range(2):
        write = (m["add"] & m["bank"].eq(b), m["write_address"], total.signal)
        found.append(stored(m, f"bank_{b}", words, write=write, read=(m[f"read_{b}"], m[f"read_address_{b}"])))
    last_sum = m.reg(total.signal, "last_sum", enable=m["add"])
    base = mux(m["forward"], last_sum, mux(m["bank"], found[1], found[0]))
    total.assign(mux(m["first"], const(0, term.width), base) + term)
    return mux(m["drain_bank"], found[1], found[0])


def banked(m: Module, before: Beat, now: Beat, first: Signal, drain: Link) -> dict[str, Signal]:
    """What all lanes are told: the beat that reads its word in this cycle, and that whose terms come and may be the
    `first` of its word; `drain` reads the bank that no beat is in, the top bit of its address."""
    bits = drain.address.width - 1
    address, bank = drain.address[0:bits], drain.address[bits]
    forward = m.reg(all_of([now[0], now[2].eq(before[2]), now[1].eq(before[1])]), "forward")
    shared = dict(add=now[0], first=first, forward=forward, bank=now[1], write_address=now[2])
    shared["drain_bank"] = m.reg(bank, "drain_bank_q")
    for b in range(2):
        summing = before[0] & before[1].eq(b)
        shared[f"read_{b}"] = summing | (drain.enable & bank.eq(b))
        shared[f"read_address_{b}"] = mux(summing, before[2], address)
    return shared


def drain_port(config: EngineConfig) -> Bundle:
    """A port that reads a word of sums: the top bit of its address is the bank."""
    return Read.of(bits_for(config.acc_words) + 1, config.lanes * config.acc_bits)


def accumulator_lane(design: Design, config: EngineConfig) -> str:
    """One lane: `partial` is what it adds."""

    def body(m: Module) -> dict[str, Signal]:
        return dict(drained=banked_sum(m, config.acc_words, m["partial"].sext(config.acc_bits)))

    inputs = {"partial": config.psum_bits} | banked_inputs(config.acc_words)
    return design.module("accumulator_lane", inputs, {"drained": config.acc_bits}, body, reset=False)


def accumulator(design: Design, config: EngineConfig) -> str:
    """In: `control` (a cycle before `sums`), `drain`. Out: `round_done` when a round's last sum is in."""
    lane, control = accumulator_lane(design, config), accumulator_fields(config)

    def body(m: Module) -> dict[str, Signal]:
        beat, drain = control.unpack(m["control"]), m["drain"]
        now = {name: m.reg(value, f"{name}_q", reset=0 if name == "valid" else None) for name, value in beat.items()}
        places = [(each["valid"], each["acc_bank"], each["address"]) for each in (beat, now)]
        shared = banked(m, places[0], places[1], now["first_step"], drain)
        drained = [
            m.output_of(lane, f"lane_{i}", partial=partial, **shared)
            for i, partial in enumerate(m["sums"].chunks(config.psum_bits))
        ]
        drain.drive(data=pack(drained))
        return dict(round_done=m.reg(now["valid"] & now["round_last"], "round_done_q", reset=0))

    inputs = {"control": control.width, "sums": config.lanes * config.psum_bits, "drain": drain_port(config)}
    return design.module("accumulator", inputs, {"round_done": 1}, body)
