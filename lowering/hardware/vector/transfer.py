"""The one transfer of a task of load or save: which words of external memory, as a command of the AXI unit."""

from __future__ import annotations

from lutllm.lowering.hardware.lib.axi import BEATS_BITS
from lutllm.lowering.hardware.lib.circt import Module, Signal, const, mux, pack
from lutllm.numerics import bits_for

TRANSFER_PORTS = {"command_valid": 1, "command_address": 64, "command_beats": BEATS_BITS}
SETTLE = 2  # cycles from a task's start until its products and their sum are in registers
WORDS_BITS = 48  # words of all tokens before a pass: 2**32 positions of 2**16 words


def words_of_tokens(m: Module, tokens: Signal, bits: int, words: Signal, name: str) -> Signal:
    """The words of `tokens` (no more than `bits` bits of it are in use), `words` each, a cycle later."""
    width = bits + words.width
    return m.reg(tokens[0:bits].zext(width) * words.zext(width), name).zext(WORDS_BITS)


def transfer(
    m: Module, busy: Signal, fields: dict[str, Signal], skipped: Signal, word_bits: int, tokens: int
) -> tuple[dict[str, Signal], Signal]:
    """Stream `command` of a task of up to `tokens` tokens: `words` of each, from `skipped` words after `address` on.

    Returns its ports and whether the command is out, from the cycle it is taken in on until the task's end.
    """
    settled = busy
    for i in range(SETTLE):
        settled = settled & m.reg(settled, f"settled_{i}", reset=0)
    shift = (word_bits // 8 - 1).bit_length()
    address = m.reg(fields["address"] + pack([const(0, shift), skipped]).zext(64), "first_address")
    beats = words_of_tokens(m, fields["tokens"], bits_for(tokens + 1), fields["words"], "beats")
    sent = m.state(1, "command_sent", reset=0)
    valid = (settled & ~sent.signal).named("command_is_valid")
    out = (sent.signal | (valid & m["command_ready"])).named("command_out")
    sent.set(mux(busy, out, const(0, 1)))
    return dict(command_valid=valid, command_address=address, command_beats=beats[0:BEATS_BITS]), out
