"""`machine.checks` as hardware: the CRC of a list, and a module that checks what a port reads against a signature."""

from __future__ import annotations

from binascii import crc_hqx

from lutllm.lowering.hardware.lib.axi import BEATS_BITS
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, all_of, any_of, const, mux, pack, parity
from lutllm.lowering.machine.checks import CRC_BITS, SIGNATURE_BITS, STEP, TAPS

_REDUCTION = 1 << SIGNATURE_BITS | sum(1 << tap for tap in TAPS)
TOGETHER = 3  # words that a signature takes in within a cycle


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
    words = bits // min(bits, SIGNATURE_BITS)

    def body(m: Module) -> dict[str, Signal]:
        left = m.state(BEATS_BITS, "left", reset=0)
        counting = left.signal.ne(0).named("counting")
        move = (m["moved"] & counting).named("move")
        left.set(mux(m["start"], m["beats"], left.signal - 1), m["start"] | move)
        moves, polynomial = _polynomial(m, move, m["data"].chunks(bits // words))
        state = m.state(SIGNATURE_BITS, "state")
        following = _times(state.signal, words) ^ polynomial
        state.set(mux(m["start"], const(0, SIGNATURE_BITS), following), m["start"] | moves[-1])
        wanted = m.reg(m["signature"], "wanted", enable=m["start"])
        checking = any_of([counting, *moves[1:]]).named("checking")
        over = m.reg(checking, "over", reset=0)
        bad = m.flag("bad_q", all_of([over, ~checking, state.signal.ne(wanted)]))
        return dict(checking=checking | over, bad=bad)

    inputs = {"start": 1, "beats": BEATS_BITS, "signature": SIGNATURE_BITS, "moved": 1, "data": bits}
    return design.module(f"region_check_{bits}", inputs, {"checking": 1, "bad": 1}, body)


def _polynomial(m: Module, move: Signal, words: list[Signal]) -> tuple[list[Signal], Signal]:
    """A beat's words as a polynomial, `TOGETHER` of them a cycle; returns (its move, delayed from 0 cycles on, and it
    with the last of these)."""
    moves, found = [move], words[0].zext(SIGNATURE_BITS)
    for i, word in enumerate(words[1:], 1):
        if i % TOGETHER == 0:
            found = m.reg(found, f"words_{i}")
            moves.append(m.reg(moves[-1], f"move_{i}", reset=0))
        found = _times(found, 1) ^ m.reg(word, f"word_{i}", cycles=len(moves) - 1).zext(SIGNATURE_BITS)
    return moves, found


def _times(value: Signal, words: int) -> Signal:
    """Times x^(STEP * words)."""
    effects = [1 << bit for bit in range(SIGNATURE_BITS)]
    for _ in range(words * STEP):
        effects = [effect << 1 ^ (effect >> (SIGNATURE_BITS - 1)) * _REDUCTION for effect in effects]
    masks = (sum((effect >> bit & 1) << i for i, effect in enumerate(effects)) for bit in range(SIGNATURE_BITS))
    return pack([parity(value & mask) for mask in masks])
