"""A router: one stream to one of several engines, as many words to each as its order says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import any_of
from lutllm.lowering.hardware.lib.state import loop_nest
from lutllm.lowering.hardware.lib.stream import Stream

ORDERS = 8  # that may wait, where nothing else is asked for
COUNT_BITS = 32


def router(design: Design, name: str, ways: Sequence[str], bits: int, orders: int = ORDERS) -> str:
    """Streams in: `order` (`way`, a bit for each of `ways`, and `count` of words, above 0), `in`. Out: a stream of each
    way; `finished` pulses with an order's last word, `idle` when no order is there."""
    order = Stream.of(way=len(ways), count=COUNT_BITS)

    def body(m: Module) -> dict[str, Any]:
        held, words = m["order"].fifo(m, "orders", orders), m["in"]
        fire = Wire(1)
        _, last, _ = loop_nest(m, fire.signal, [("word", held.count)])
        open_ = words.valid & held.valid
        found = {way: Stream(open_ & held.way[i], data=words.data) for i, way in enumerate(ways)}
        ready = any_of([stream.ready & open for stream, open in zip(found.values(), held.way.chunks(1), strict=True)])
        words.drive(ready=(held.valid & ready).named("way_ready"))
        fire.assign(words.moves)
        finished = fire.signal & last["word"]
        held.drive(ready=finished)
        return found | dict(finished=finished, idle=~held.valid)

    outputs = {way: Stream.of(bits) for way in ways} | {"finished": 1, "idle": 1}
    return design.module(name, {"order": order, "in": Stream.of(bits)}, outputs, body)
