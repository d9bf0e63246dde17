"""From one clock to another: AXI4 masters whose bus has its own clock.

In: a `Design`, widths. Out: names of modules. A crossing stands between a master of `lib.axi`, at the core's clock, and
the bus, at the clock of memory (`m_` ports), which may be narrower: a beat of the core is then several of the bus. It
takes bursts and never makes any; every burst that it took has its answer.

What keeps both ends at one mind is `crossing_control`, one for all masters. While it is not `open` - during a reset,
or while the crossing is cleared - nothing enters. A reset takes back what is offered on the bus, as AXI wants: reads go
out after it, writes are dropped and answered here; where that breaks a burst off, `torn` says so. `clear` forgets
everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lutllm.lowering.hardware.lib.axi import address_channel, read_bus, write_bus
from lutllm.lowering.hardware.lib.bundle import Bundle, Link, Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import power_on
from lutllm.lowering.hardware.lib.signal import Signal, all_of, const, mux, pack, select
from lutllm.lowering.hardware.lib.state import up_down
from lutllm.lowering.hardware.lib.stream import CROSSING_DEPTH, Stream
from lutllm.numerics import bits_for

# Edges of the other clock, after the one at which a word enters (at which room is made), up to that at which it may
# leave (at which another may enter).
SYNCHRONIZED = 3
MEMORY_CLOCK = "m_clk"


def crossing_cycles(core: int, bus: int, parts: int) -> int:
    """Cycles of the core, at most, from an address to its first beat besides memory's own: `core` and `bus` are the
    periods of the clocks, `parts` beats of the bus are one."""
    return SYNCHRONIZED + 1 - (-(SYNCHRONIZED + parts) * bus // core)


def crossing_control(design: Design) -> str:
    """Resets of both ends. In: `clear`, for a cycle; `hard`, the core's reset; of memory's clock, `m_drained`: no write
    is left in a crossing.

    Out, of the core: `clearing`, the level; `open`: the bus takes what comes, as memory's end has said; `stopped`, for
    a cycle, when a reset has come through. Of memory's clock: `m_clearing`; `m_run`, without which nothing is offered.
    """

    def body(m: Module) -> dict[str, Any]:
        mem = m.other_side()
        m.rst, mem.rst = m.output_of(power_on(design), "power_on"), mem.output_of(power_on(design), "m_power_on")
        clearing, holding = m.state(1, "clearing", reset=1), m.state(1, "holding", reset=1)
        go = m.reg(~holding.signal, "go", reset=0)
        # Known from power-on, whichever clock comes first.
        m_clearing = mem.synchronized(clearing.signal, "m_clearing", reset=0) & ~mem.rst
        m_run = mem.synchronized(go, "m_run", reset=0) & ~mem.rst
        active = mem.reg(m_run | ~m["m_drained"], "active", reset=0) & ~mem.rst
        cleared = m.synchronized(m_clearing, "cleared", reset=0)
        running = m.synchronized(active, "running", reset=0)
        clearing.set((m["clear"] | clearing.signal) & ~cleared)
        busy = (clearing.signal | cleared).named("busy")
        stopped = all_of([holding.signal, ~go, ~running, ~busy, ~m["clear"]]).named("stopped")
        holding.set(m["clear"] | m["hard"] | (holding.signal & ~stopped))
        forgets = m.state(1, "forgets", reset=1)  # it stops to be cleared
        came = all_of([stopped, ~m["hard"], ~forgets.signal]).named("reset_came")
        forgets.set(m["clear"] | (forgets.signal & ~stopped))
        state = dict(clearing=busy, open=all_of([~holding.signal, go, running]), m_clearing=m_clearing, m_run=m_run)
        # `stopped` a cycle later: what goes with it is here too.
        return dict(control=Link(state), stopped=m.reg(came, "stopped_q", reset=0))

    outputs = {"control": CONTROL, "stopped": 1}
    inputs = {"clear": 1, "hard": 1, "m_drained": 1}
    return design.module("crossing_control", inputs, outputs, body, reset=False, clock=MEMORY_CLOCK)


CONTROL = Bundle(dict(clearing=1, open=1, m_clearing=1, m_run=1), bare=True)
_UNUSED = {f"{way}{signal}" for way in ("ar", "aw") for signal in ("id", "size", "burst", "cache", "prot")}
_IDS = {"rid", "bid"}


class _Ends:
    """Both ends of a crossing under construction: `m` and `mem`, and FIFOs between them."""

    def __init__(self, m: Module) -> None:
        self.m, self.mem, self.clear, self.m_clear = m, m.other_side(), m["clearing"], m["m_clearing"]

    def out(self, name: str, given: Stream, depth: int = CROSSING_DEPTH) -> Stream:
        """From the core to memory. Nothing enters while the crossing is not open."""
        return given.gated(self.m["open"]).cross(self.m, name, self.clear, self.m_clear, depth)

    def back(self, name: str, given: Stream, depth: int = CROSSING_DEPTH) -> Stream:
        """From memory to the core."""
        return given.cross(self.mem, name, self.m_clear, self.clear, depth)

    def bursts(
        self, way: str, bits: int, bus: int, depth: int = CROSSING_DEPTH
    ) -> tuple[Signal, dict[str, Signal], Stream]:
        """Addresses to the bus: (ready of the core, the channel, the stream of them at memory's end)."""
        m, more = self.m, (bits // bus).bit_length() - 1
        given = Stream(m[f"{way}valid"], address=m[f"{way}addr"], length=m[f"{way}len"])
        there = self.out("addresses", given, depth)
        length = pack([*([const(-1, more)] if more else []), there.length[0 : 8 - more]])
        shown = Stream(there.valid & m["m_run"], address=there.address, length=length)
        return given.ready, address_channel(way, bus, shown), there


def read_crossing(design: Design, bits: int, bus: int) -> str:
    """A read master of `bits` to a bus of `bus` bits of another clock."""
    parts = bits // bus

    def body(m: Module) -> dict[str, Any]:
        ends, response, run = _Ends(m), m["m_rresp"], m["m_run"]
        ready, channel, addresses = ends.bursts("ar", bits, bus)
        addresses.drive(ready=m["m_arready"] & run)
        beats, full, room = [m["m_rdata"]], const(1, 1), Wire(1)
        r_ready = all_of([room.signal, run, ~m["m_clearing"]])
        if parts > 1:
            moved = m["m_rvalid"] & r_ready
            index = _counter(ends.mem, "part", moved, parts, m["m_clearing"])
            full = index.eq(parts - 1).named("full")
            for i in range(parts - 1):
                beats.insert(0, ends.mem.reg(beats[0], f"part_{parts - 2 - i}_q", enable=moved))
            kept = ends.mem.state(2, "response_q")
            response = response | mux(index.eq(0), const(0, 2), kept.signal)
            kept.set(response, moved)
        valid = all_of([m["m_rvalid"], run, full])
        given = Stream(valid, data=pack(beats), response=response, last=m["m_rlast"])
        word = ends.back("data", given)
        word.drive(ready=m["rready"])
        room.assign(given.ready | ~full)
        core = dict(arready=ready, rvalid=word.valid, rdata=word.data, rresp=word.response, rlast=word.last)
        return dict(core=Link(core | dict(rid=const(0, 1))), m=Link(channel | dict(rready=r_ready)))

    return _module(design, f"read_crossing_{bits}_{bus}", read_bus, bits, bus, body)


def write_crossing(design: Design, bits: int, bus: int, outstanding: int) -> str:
    """A write master of `bits`, of at most `outstanding` bursts without an answer, to a bus of `bus` bits of another
    clock. There is room for all their addresses, so that none comes after its data.

    `m_torn`, from a reset to the next: it broke off a burst. `m_drained`: of bursts and data nothing is left here.
    """
    parts, depth = bits // bus, max(CROSSING_DEPTH, 1 << bits_for(outstanding))

    def body(m: Module) -> dict[str, Any]:
        ends, run, clear, room = _Ends(m), m["m_run"], m["m_clearing"], Wire(1)
        mem = ends.mem
        ready, channel, there = ends.bursts("aw", bits, bus, depth)
        # In a reset, addresses are answered here and data is dropped.
        drop = all_of([there.valid, ~run, room.signal]).named("drop")
        there.drive(ready=mux(run, m["m_awready"], drop))
        accepted = all_of([there.valid, run, m["m_awready"]]).named("accepted")
        given = Stream(m["wvalid"], data=m["wdata"], strobes=m["wstrb"], last=m["wlast"])
        word = ends.out("data", given)
        beat = all_of([word.valid, run, m["m_wready"]]).named("beat")
        data, strobes, end = word.data, word.strobes, const(1, 1)
        if parts > 1:
            index = _counter(mem, "part", beat, parts, clear | ~run)
            end = index.eq(parts - 1).named("end")
            data, strobes = (select(signal.chunks(signal.width // parts), index) for signal in (data, strobes))
        word.drive(ready=(beat & end) | ~run)
        finished = all_of([beat, end, word.last]).named("finished")
        counted = bits_for(depth + 1) + 1
        open_ = mem.state(counted, "open", reset=0, by=clear | ~run)  # bursts whose address was taken, but those sent
        up_down(open_, accepted, finished)
        partly = mem.reg(~(end & word.last), "partly_sent", enable=beat, reset=0, by=clear | ~run)
        stop = (mem.reg(run, "run_q", reset=0, by=clear) & ~run).named("stop")
        torn = mem.reg(open_.signal.ne(0) | partly, "torn_q", enable=stop, reset=0, by=clear)
        answer = Stream((m["m_bvalid"] & run) | drop, response=mux(drop, const(0, 2), m["m_bresp"]))
        response = ends.back("responses", answer, depth)
        response.drive(ready=m["bready"])
        room.assign(answer.ready)
        core = dict(awready=ready, wready=given.ready, bvalid=response.valid, bresp=response.response)
        out = dict(wvalid=word.valid & run, wdata=data, wstrb=strobes, wlast=word.last & end, bready=answer.ready & run)
        return dict(
            core=Link(core | dict(bid=const(0, 1))), m=Link(channel | out), m_torn=torn,
            m_drained=~(there.valid | word.valid),
        )  # fmt: skip

    more = {"m_torn": 1, "m_drained": 1}
    return _module(design, f"write_crossing_{bits}_{bus}_{depth}", write_bus, bits, bus, body, more)


def _counter(mem: Module, name: str, step: Signal, count: int, clear: Signal) -> Signal:
    index = mem.state(bits_for(count), f"{name}_index", reset=0, by=clear)
    return index.set(index.signal + 1, step)


def _module(
    design: Design, name: str, kind: Callable[[int], Bundle], bits: int, bus: int,
    body: Callable[[Module], dict[str, Any]], more: dict[str, int] | None = None,
) -> str:  # fmt: skip
    """Ports `control`; `given`, of the master what is used here, `core`, what it gets; `m`, the bus, without what it
    says of ids."""
    whole, its = kind(bits), kind(bus)
    given = Bundle({signal: n for signal, n in whole.forward.items() if signal not in _UNUSED}, bare=True)
    m = replace(its, back={signal: n for signal, n in its.back.items() if signal not in _IDS}, bare=False)
    outputs = {"core": Bundle(whole.back, bare=True), "m": m} | (more or {})
    inputs = {"control": CONTROL, "given": given}
    return design.module(name, inputs, outputs, body, reset=False, clock=MEMORY_CLOCK)
