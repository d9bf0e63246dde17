"""Read commands for the rows of keys or values that a unit's items use, one command an item, as early as taken."""

from __future__ import annotations

from typing import Any

from lutllm.lowering.hardware.lib.axi import commands
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import all_of, mux
from lutllm.lowering.hardware.lib.state import Levels, loop_nest
from lutllm.lowering.hardware.lib.stream import Stream

STEP_BITS = 40  # of the bytes from one of a unit's kv heads to its next


def row_fetch(design: Design, ports: int) -> str:
    """From `start` on: to all `ports` at a time, a command of `beats` beats for each item of each kv head, whose rows
    start at the port's part of `address` + kv head * `head_step`. All are steady from `start` on."""

    def body(m: Module) -> dict[str, Any]:
        step = Wire(1)
        levels: Levels = [("kv_head", m["kv_heads"]), ("item", m["items"])]
        _, last = loop_nest(m, step.signal, levels)
        active = m.flag("active", m["start"], step.signal & last["kv_head"] & last["item"])
        moves, valid = m["start"] | (step.signal & last["item"]), [Wire(1) for _ in range(ports)]
        found = []
        for i, first in enumerate(m["address"].chunks(64)):
            address = m.state(64, f"address_{i}")
            address.set(mux(m["start"], first, address.signal + m["head_step"].zext(64)), moves)
            found.append(Stream(valid[i].signal, address=address.signal, beats=m["beats"]))
        step.assign(all_of([active, *(command.ready for command in found)]))
        for wire, command in zip(valid, found, strict=True):
            wire.assign(all_of([active, *(other.ready for other in found if other is not command)]))
        return {f"command_{i}": command for i, command in enumerate(found)}

    inputs = {"start": 1, "address": ports * 64, "head_step": STEP_BITS, "beats": 32, "kv_heads": 16, "items": 8}
    return design.module("row_fetch", inputs, {f"command_{i}": commands() for i in range(ports)}, body)
