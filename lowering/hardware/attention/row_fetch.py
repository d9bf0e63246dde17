"""Read commands for the rows of keys or values that a unit's items use, one command an item, as early as taken."""

from __future__ import annotations

from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, all_of, mux, pack
from lutllm.lowering.hardware.lib.state import Levels, loop_nest

STEP_BITS = 40  # of the bytes from one of a unit's kv heads to its next


def row_fetch(design: Design, ports: int) -> str:
    """From `start` on: to all `ports` at a time, a command of `beats` beats for each item of each kv head, whose rows
    start at the port's part of `address` + kv head * `head_step`. All are steady from `start` on."""

    def body(m: Module) -> dict[str, Signal]:
        step = Wire(1)
        levels: Levels = [("kv_head", m["kv_heads"]), ("item", m["items"])]
        _, last = loop_nest(m, step.signal, levels)
        active = m.state(1, "active", reset=0)
        ready = m["command_ready"].chunks(1)
        step.assign(all_of([active.signal, *ready]))
        active.set(m["start"] | (active.signal & ~(step.signal & last["kv_head"] & last["item"])))
        moves, addresses = m["start"] | (step.signal & last["item"]), []
        for i, first in enumerate(m["address"].chunks(64)):
            address = m.state(64, f"address_{i}")
            address.set(mux(m["start"], first, address.signal + m["head_step"].zext(64)), moves)
            addresses.append(address.signal)
        valid = [all_of([active.signal, *ready[:i], *ready[i + 1 :]]) for i in range(ports)]
        return dict(command_valid=pack(valid), command_address=pack(addresses), command_beats=m["beats"])

    inputs = {"start": 1, "address": ports * 64, "head_step": STEP_BITS, "beats": 32, "kv_heads": 16, "items": 8}
    outputs = {"command_valid": ports, "command_address": ports * 64, "command_beats": 32}
    return design.module("row_fetch", inputs | {"command_ready": ports}, outputs, body)
