"""From AXI beats to words: a stream's word is one or more beats, lowest bits first."""

from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, Wire, const, loop_nest, pack


def beats_to_words(design: Design, port_bits: int, word_bits: int) -> str:
    """Stream `in` of beats to stream `out` of words. A word stands at `out` together with its last beat at `in`."""
    beats = -(-word_bits // port_bits)

    def body(m: Module) -> dict[str, Signal]:
        fire = Wire(1)
        _, last, _ = loop_nest(m, fire.signal, [("beat", const(beats, 8))])
        in_ready = ~last["beat"] | m["out_ready"]
        fire.assign(m["in_valid"] & in_ready)
        parts: list[Signal] = []
        for i in range(beats - 1):
            parts.insert(0, m.reg(parts[0] if parts else m["in_data"], f"beat_{beats - 2 - i}", enable=fire.signal))
        word = pack([*parts, m["in_data"]])[0:word_bits]
        return dict(in_ready=in_ready, out_valid=m["in_valid"] & last["beat"], out_data=word)

    inputs = {"in_valid": 1, "in_data": port_bits, "out_ready": 1}
    outputs = {"in_ready": 1, "out_valid": 1, "out_data": word_bits}
    return design.module(f"beats_{port_bits}_to_word_{word_bits}", inputs, outputs, body)
