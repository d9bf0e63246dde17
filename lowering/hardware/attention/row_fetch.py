"""Read commands for the rows of keys or values that a unit's items use, one command an item, as early as taken."""

from __future__ import annotations

from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, all_of, mux
from lutllm.lowering.hardware.lib.state import Levels, loop_nest

STEP_BITS = 40  # of the bytes from one of a unit's kv heads to its next


def row_fetch(design: Design) -> str:
    """From `start` on, to one port, a command of `beats` beats for each item of each kv head, whose rows start at
    `address` + kv head * `head_step`. All are steady from `start` on."""

    def body(m: Module) -> dict[str, Signal]:
        step = Wire(1)
        levels: Levels = [("kv_head", m["kv_heads"]), ("item", m["items"])]
        _, last, _ = loop_nest(m, step.signal, levels)
        active, address = m.state(1, "active", reset=0), m.state(64, "address")
        step.assign(active.signal & m["command_ready"])
        active.set(m["start"] | (active.signal & ~all_of([step.signal, *last.values()])))
        following = mux(m["start"], m["address"], address.signal + m["head_step"].zext(64))
        address.set(following, m["start"] | (step.signal & last["item"]))
        return dict(command_valid=active.signal, command_address=address.signal, command_beats=m["beats"])

    inputs = {"start": 1, "address": 64, "head_step": STEP_BITS, "beats": 32, "kv_heads": 16, "items": 8}
    outputs = {"command_valid": 1, "command_address": 64, "command_beats": 32}
    return design.module("row_fetch", inputs | {"command_ready": 1}, outputs, body)
