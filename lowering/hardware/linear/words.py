"""From AXI beats to words: a stream's word is one or more beats, lowest bits first."""

from typing import Any

from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, const, pack
from lutllm.lowering.hardware.lib.state import loop_nest
from lutllm.lowering.hardware.lib.stream import Stream


def beats_to_words(design: Design, port_bits: int, word_bits: int) -> str:
    """Stream `in` of beats to stream `out` of words. A word stands at `out` together with its last beat at `in`."""
    beats = -(-word_bits // port_bits)

    def body(m: Module) -> dict[str, Any]:
        given = m["in"]
        fire = given.moves
        _, last, _ = loop_nest(m, fire, [("beat", const(beats, 8))])
        word = pack([*assembled(m, given.data, beats, fire, "beat"), given.data])[0:word_bits]
        out = Stream(given.valid & last["beat"], data=word)
        given.drive(ready=~last["beat"] | out.ready)
        return dict(out=out)

    name = f"beats_{port_bits}_to_word_{word_bits}"
    return design.module(name, {"in": Stream.of(port_bits)}, {"out": Stream.of(word_bits)}, body)


def assembled(m: Module, data: Signal, count: int, enable: Signal, name: str) -> list[Signal]:
    """The `count` - 1 parts before `data`, the earliest first, of those that come with `enable`."""
    parts = [data]
    for i in range(count - 1):
        parts.insert(0, m.reg(parts[0], f"{name}_{count - 2 - i}", enable=enable))
    return parts[:-1]
