"""The one transfer of a task of load or save: which words of external memory, as a command of the AXI unit."""

from __future__ import annotations

from lutllm.lowering.hardware.control.task import settled
from lutllm.lowering.hardware.lib.axi import BEATS_BITS
from lutllm.lowering.hardware.lib.circt import Module
from lutllm.lowering.hardware.lib.signal import Signal, const, pack
from lutllm.lowering.hardware.lib.stream import Stream
from lutllm.numerics import bits_for

SETTLE = 2  # cycles from a task's start until its products and their sum are in registers
WORDS_BITS = 48  # words of all tokens before a pass: 2**32 positions of 2**16 words


def words_of_tokens(m: Module, tokens: Signal, bits: int, words: Signal, name: str) -> Signal:
    """The words of `tokens` (no more than `bits` bits of it are in use), `words` each, a cycle later."""
    width = bits + words.width
    return m.reg(tokens[0:bits].zext(width) * words.zext(width), name).zext(WORDS_BITS)


def transfer(
    m: Module, busy: Signal, fields: dict[str, Signal], skipped: Signal, word_bits: int, tokens: int
) -> tuple[Stream, Signal]:
    """The `command` of a task of up to `tokens` tokens: `words` of each, from `skipped` words after `address` on, and
    whether it is out, from the cycle it is taken in on until the task's end."""
    shift = (word_bits // 8 - 1).bit_length()
    address = m.reg(fields["address"] + pack([const(0, shift), skipped]).zext(64), "first_address")
    beats = words_of_tokens(m, fields["tokens"], bits_for(tokens + 1), fields["words"], "beats")[0:BEATS_BITS]
    sent = m.state(1, "command_sent", reset=0)
    valid = (settled(m, busy, SETTLE, "settled") & ~sent.signal).named("command_is_valid")
    command = Stream(valid, address=address, beats=beats)
    out = (sent.signal | command.moves).named("command_out")
    sent.set(busy & out)
    return command, out
