"""A router: one stream to one of several engines, as many words to each as its order says."""

from __future__ import annotations

from collections.abc import Sequence

from lutllm.lowering.hardware.lib.circt import Design, Fields, Module, Signal, Wire, const, loop_nest, pack, select
from lutllm.lowering.hardware.lib.memory import buffered
from lutllm.numerics import bits_for

ORDERS = 8  # that may wait, where nothing else is asked for
COUNT_BITS = 32


def router(design: Design, name: str, ways: Sequence[str], orders: int = ORDERS) -> str:
    """In: `push` of an order (`way`, an index of `ways`, and `count` of words, above 0), taken when `room`; `in_valid`
    and each way's `WAY_ready`. Out: `in_ready`, each way's `WAY_valid`; `finished` pulses with an order's last word,
    `idle` when no order is there. Data goes around this module."""
    way_bits = bits_for(len(ways))
    order = Fields(way=way_bits, count=COUNT_BITS)

    def body(m: Module) -> dict[str, Signal]:
        stream, room = buffered(m, "orders", m["push"], order.pack(way=m["way"], count=m["count"]), orders)
        held = order.unpack(stream.data)
        fire = Wire(1)
        _, last, _ = loop_nest(m, fire.signal, [("word", held["count"])])
        ready = (stream.valid & select([m[f"{way}_ready"] for way in ways], held["way"])).named("way_ready")
        fire.assign(ready & m["in_valid"])
        finished = fire.signal & last["word"]
        stream.ready.assign(finished)
        open_ = m["in_valid"] & stream.valid
        valids = {f"{way}_valid": open_ & held["way"].eq(i) for i, way in enumerate(ways)}
        return valids | dict(in_ready=ready, room=room, finished=finished, idle=~stream.valid)

    inputs = {"push": 1, "way": way_bits, "count": COUNT_BITS, "in_valid": 1}
    inputs |= {f"{way}_ready": 1 for way in ways}
    outputs = {"in_ready": 1, "room": 1, "finished": 1, "idle": 1} | {f"{way}_valid": 1 for way in ways}
    return design.module(name, inputs, outputs, body)


def way_of(chosen: Sequence[Signal]) -> Signal:
    """The index of the one signal that is 1."""
    bits = bits_for(len(chosen))
    index = const(0, bits)
    for i, signal in enumerate(chosen):
        index = index | pack([signal] * bits) & const(i, bits)
    return index
