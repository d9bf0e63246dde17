"""Read commands for the rows of keys or values that a unit's items use, one command an item, as early as taken."""

from __future__ import annotations

from lutllm.lowering.hardware.lib.axi import commands
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import all_of, mux
from lutllm.lowering.hardware.lib.state import Levels, loop_nest
from lutllm.lowering.hardware.lib.stream import Stream

STEP_BITS = 40  # of the bytes from one of a unit's kv heads to its next


def row_fetch(design: Design) -> str:
    """From `start` on, to one port, a command of `beats` beats for each item of each kv head, whose rows start at
    `address` + kv head * `head_step`. All are steady from `start` on."""

    def body(m: Module) -> dict[str, Stream]:
        step = Wire(1)
        levels: Levels = [("kv_head", m["kv_heads"]), ("item", m["items"])]
        _, last, _ = loop_nest(m, step.signal, levels)
        active, address = m.flag("active", m["start"], all_of([step.signal, *last.values()])), m.state(64, "address")
        following = mux(m["start"], m["address"], address.signal + m["head_step"].zext(64))
        address.set(following, m["start"] | (step.signal & last["item"]))
        command = Stream(active, address=address.signal, beats=m["beats"])
        step.assign(command.moves)
        return dict(command=command)

    inputs = {"start": 1, "address": 64, "head_step": STEP_BITS, "beats": 32, "kv_heads": 16, "items": 8}
    return design.module("row_fetch", inputs, {"command": commands()}, body)
