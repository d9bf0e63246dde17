"""`machine.checks` as hardware: the CRC of a list, and a module that checks what a port reads against a signature."""

from __future__ import annotations

from binascii import crc_hqx

from lutllm.lowering.hardware.lib.axi import BEATS_BITS
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, all_of, const, mux, pack, parity
from lutllm.lowering.machine.checks import CRC_BITS, SIGNATURE_BITS, STEP, TAPS


def crc(state: Signal, word: Signal) -> Signal:
    """The CRC after one more word."""
    size = word.width // 8
    effects = [crc_hqx(bytes(size), 1 << bit) for bit in range(CRC_BITS)]
    effects += [crc_hqx((1 << bit).to_bytes(size, "little"), 0) for bit in range(word.width)]
    inputs = pack([state, word])
    masks = (sum((effect >> bit & 1) << i for i, effect in enumerate(effects)) for bit in range(CRC_BITS))
    return pack([parity(inputs & mask) for mask in masks])


def region_check(design: Design, bits: int) -> str:
    """Checks the next `beats` of `bits` that pass - `moved` with `data` - from `start` on, while it is not `checking`;
    `bad` once their signature was not `signature`, until reset."""

    def body(m: Module) -> dict[str, Signal]:
        left = m.state(BEATS_BITS, "left", reset=0)
        checking, last = left.signal.ne(0).named("checking"), left.signal.eq(1)
        move = (m["moved"] & checking).named("move")
        left.set(mux(m["start"], m["beats"], left.signal - 1), m["start"] | move)
        state = m.state(SIGNATURE_BITS, "state")
        words = m["data"].chunks(min(bits, SIGNATURE_BITS))
        following = state.signal
        for word in words:
            following = _step(following) ^ word.zext(SIGNATURE_BITS)
        state.set(mux(m["start"], const(0, SIGNATURE_BITS), following), m["start"] | move)
        over = m.reg(move & last, "over", reset=0)
        wanted = m.reg(m["signature"], "wanted", enable=m["start"])
        bad = m.flag("bad_q", all_of([over, state.signal.ne(wanted)]))
        return dict(checking=checking | over, bad=bad)

    inputs = {"start": 1, "beats": BEATS_BITS, "signature": SIGNATURE_BITS, "moved": 1, "data": bits}
    return design.module(f"region_check_{bits}", inputs, {"checking": 1, "bad": 1}, body)


def _step(state: Signal) -> Signal:
    """Times x^STEP."""
    high = state[SIGNATURE_BITS - STEP :]
    found = pack([const(0, STEP), state[: SIGNATURE_BITS - STEP]])
    for tap in TAPS:
        found = found ^ pack([const(0, tap), high] if tap else [high]).zext(SIGNATURE_BITS)
    return found
