"""A design in parts - a top and instances of blocks, each with a function that steps it - as one that steps them all.

In: the parts' layouts and functions, and where the blocks were cut out. Out: one layout, one function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numba import carray, cfunc, njit, types

from lutllm.lowering.export.hw_blocks import Cut
from lutllm.lowering.export.hw_to_arc import Layout
from lutllm.simulate.native import call

_ALIGNMENT = 64


def joined(
    top: Layout, function: int, cuts: tuple[Cut, ...], blocks: Mapping[str, tuple[Layout, int]]
) -> tuple[Layout, Any]:
    """The layout of all parts, and the compiled function (its `address` is that of `void f(uint8_t *state)`).

    `function` steps the top, `blocks` are the layout and the function of each. At a rising edge every part first steps
    on what the others gave before it; then values are handed on until they stay.
    """
    size, places = top.size, list(top.states)
    units: list[tuple[int, ...]] = []
    inputs, outputs = list[tuple[int, int, int]](), list[tuple[int, int, int]]()
    for c in cuts:
        layout, step = blocks[c.block]
        base = -(-size // _ALIGNMENT) * _ALIGNMENT
        size = base + layout.size
        places += [replace(s, name=f"{c.path}/{s.name}", offset=base + s.offset) for s in layout.states]
        clock, ends = base + layout.port("clk").offset, (len(inputs), len(outputs))
        for port in layout.ports:
            if port.name != "clk":
                outer, inner = top.port(f"{c.path}/{port.name}").offset, base + port.offset
                links = inputs if port.direction == "in" else outputs
                links.append((outer, inner, port.bytes) if port.direction == "in" else (inner, outer, port.bytes))
        units.append((step, base, top.port(c.clock).offset, clock, ends[0], len(inputs), ends[1], len(outputs)))
    inner_ports = {f"{c.path}/{port.name}" for c in cuts for port in blocks[c.block][0].ports}
    ports = tuple(port for port in top.ports if port.name not in inner_ports)
    tables = (np.array(rows, np.int64) for rows in (units, inputs, outputs))
    return Layout(top.top, "joined", size, ports, tuple(places)), _stepper(function, size, *tables)


def _stepper(function: int, size: int, units: np.ndarray, inputs: np.ndarray, outputs: np.ndarray) -> Any:
    @cfunc(types.void(types.voidptr))
    def step(pointer):  # type: ignore[no-untyped-def]
        state = carray(pointer, (size,), np.uint8)
        address = state.ctypes.data
        call(function, address)
        changed = False
        for u in units:
            if state[u[2]] > state[u[3]]:
                state[u[3]] = 1
                call(u[0], address + u[1])
                changed |= _moved(state, outputs, u[6], u[7])
        if changed:
            call(function, address)
        while True:
            changed = False
            for u in units:
                given = _moved(state, inputs, u[4], u[5]) or state[u[2]] != state[u[3]]
                if given:
                    state[u[3]] = state[u[2]]
                    call(u[0], address + u[1])
                    changed |= _moved(state, outputs, u[6], u[7])
            if not changed:
                break
            call(function, address)

    return step


@njit
def _moved(state, links, first, end):  # type: ignore[no-untyped-def]
    """Copy; whether anything was another value."""
    changed = np.uint8(0)
    for i in range(first, end):
        source, target = links[i, 0], links[i, 1]
        for b in range(links[i, 2]):
            changed |= state[source + b] ^ state[target + b]
            state[target + b] = state[source + b]
    return changed != 0
