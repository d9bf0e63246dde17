"""The order in which engine heads goes through its words: head, token of the pass, word of the head."""

from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, all_of, const, mux
from lutllm.lowering.hardware.lib.state import loop_nest
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.numerics import bits_for

WALK_BITS = {"heads": 16, "tokens": 16, "head_words": 8, "source": 16}


def place_bits(config: AcceleratorConfig) -> int:
    """Bits of a word's place among a head's words of all tokens of a pass."""
    return bits_for(config.tokens * config.head_words)


def head_walk(design: Design, config: AcceleratorConfig) -> str:
    """One word further at each `step`; back at the first after the last. In, steady: the task's `heads`, `tokens`,
    `head_words` and `source`. Out, of the word at hand: `address` in memory y, `word` of its row, `place` among the
    head's words in this order, and where it stands: `first_token`, `first_word`, `last_word` of a row, `last` of all.
    In mode wide_norm also its `token`, and whether its head is the first or the last.
    """
    bits, wide = config.address_bits("y"), "wide_norm" in config.modes

    def body(m: Module) -> dict[str, Signal]:
        step = m["step"]
        index, last, at_first = loop_nest(
            m, step, [("head", m["heads"]), ("token", m["tokens"]), ("word", m["head_words"])]
        )
        first_word, first_token = at_first["word"], at_first["token"]
        first = all_of(list(at_first.values())).named("first")
        # Word w of token t lies at w * T + t, so the next row begins one after this row's beginning, and the next
        # head one after this head's last word.
        reached, row = m.state(bits, "reached"), m.state(bits, "row")
        address = mux(first, m["source"][0:bits], reached.signal).named("address")
        begin = mux(first_word, address, row.signal).named("begin")
        row.set(begin, step)
        one = const(1, bits)
        beyond = mux(last["word"], one, m["tokens"].zext(max(bits, 16))[0:bits])
        reached.set(mux(last["word"] & ~last["token"], begin, address) + beyond, step)
        head_end = last["token"] & last["word"]
        heads = {}
        if wide:
            token = index["token"][0 : config.token_bits]
            heads = dict(token=token, first_head=at_first["head"], last_head=last["head"])
        return dict(
            address=address,
            word=index["word"],
            place=m.counter(place_bits(config), "place", step=step, last=head_end),
            first_token=first_token,
            first_word=first_word,
            last_word=last["word"],
            last=head_end & last["head"],
            **heads,
        )

    outputs = {"address": bits, "word": 8, "place": place_bits(config)}
    outputs |= {"first_token": 1, "first_word": 1, "last_word": 1, "last": 1}
    outputs |= {"token": config.token_bits, "first_head": 1, "last_head": 1} if wide else {}
    return design.module("head_walk", {"step": 1, **WALK_BITS}, outputs, body)
