"""From one clock to another: a FIFO with a clock at each end, and out of it AXI4 masters whose bus has its own clock.

In: a `Design`, widths. Out: names of modules. A crossing stands between a master of `lib.axi`, at the core's clock, and
the bus, at the clock of memory (`m_` ports), which may be narrower: a beat of the core is then several of the bus. It
takes bursts and never makes any; every burst that it took has its answer.

What keeps both ends at one mind is `crossing_control`, one for all masters. While it is not `open` - during a reset,
or while the crossing is cleared - nothing enters. A reset takes back what is offered on the bus, as AXI wants: reads go
out after it, writes are dropped and answered here; where that breaks a burst off, `torn` says so. `clear` forgets
everything.
"""

from __future__ import annotations

from lutllm.lowering.hardware.lib.axi import READ_MASTER, WRITE_MASTER, address_channel
from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, Wire, all_of, const, mux, pack, select, up_down
from lutllm.lowering.hardware.lib.memory import power_on, ram
from lutllm.numerics import bits_for

DEPTH = 16  # words of a FIFO: more than a way there and back takes, and what a LUTRAM has in any case
# Edges of the other clock, after the one at which a word enters (at which room is made), up to that at which it may
# leave (at which another may enter).
SYNCHRONIZED = 3
MEMORY_CLOCK = "m_clk"


def crossing_cycles(core: int, bus: int, parts: int) -> int:
    """Cycles of the core, at most, from an address to its first beat besides memory's own: `core` and `bus` are the
    periods of the clocks, `parts` beats of the bus are one."""
    return SYNCHRONIZED + 1 - (-(SYNCHRONIZED + parts) * bus // core)


_ADDRESS_BITS = 72  # address and length


def async_fifo(design: Design, width: int, depth: int = DEPTH) -> str:
    """A stream FIFO of `depth` words, a power of two, that is filled with clock `clk` and emptied with `read_clk`.

    Pointers cross in Gray code, through two registers each. `clear` and `read_clear`, each of its own clock, empty it;
    both must be 1 for some cycles at a time, and nothing comes meanwhile.
    """
    assert depth > 1 and depth & (depth - 1) == 0
    bits = bits_for(depth) + 1

    def body(m: Module) -> dict[str, Signal]:
        r = m.other_side()
        head, tail = Wire(bits), Wire(bits)
        # Full where the pointers are a whole round apart: their two highest bits in Gray code differ, the rest do not.
        seen = m.synchronized(tail.signal, "tail") ^ (3 << bits - 2)
        in_ready = (head.signal.ne(seen) & ~m["clear"]).named("room")
        push = (m["in_valid"] & in_ready).named("push")
        out_valid = (tail.signal.ne(r.synchronized(head.signal, "head")) & ~m["read_clear"]).named("filled")
        place, code = _pointer(m, "write", push, m["clear"], bits)
        head.assign(code)
        read, code = _pointer(r, "read", out_valid & m["out_ready"], m["read_clear"], bits)
        tail.assign(code)
        store = ram(design, depth, width, read_latency=0)
        data = m.output_of(store, "store", we=push, wa=place, wd=m["in_data"], ra=read)
        return dict(in_ready=in_ready, out_valid=out_valid, out_data=data)

    inputs = {"clear": 1, "read_clear": 1, "in_valid": 1, "in_data": width, "out_ready": 1}
    outputs = {"in_ready": 1, "out_valid": 1, "out_data": width}
    ram(design, depth, width, read_latency=0)
    return design.module(f"async_fifo_{depth}x{width}", inputs, outputs, body, reset=False, clock="read_clk")


def _pointer(m: Module, name: str, step: Signal, clear: Signal, bits: int) -> tuple[Signal, Signal]:
    """(the place in memory, the pointer in Gray code), both registers."""
    count = m.state(bits, f"{name}_pointer", reset=0, by=clear)
    following = count.signal + 1
    count.set(following, step)
    gray = following ^ pack([following[1:], const(0, 1)])
    return count.signal[0 : bits - 1], m.reg(gray, f"{name}_gray", enable=step, reset=0, by=clear)


def crossing_control(design: Design) -> str:
    """Resets of both ends. In: `clear`, for a cycle; `hard`, the core's reset; of memory's clock, `m_drained`: no write
    is left in a crossing.

    Out, of the core: `clearing`, the level; `open`: the bus takes what comes, as memory's end has said; `stopped`, for
    a cycle, when a reset has come through. Of memory's clock: `m_clearing`; `m_run`, without which nothing is offered.
    """

    def body(m: Module) -> dict[str, Signal]:
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
        return {
            "clearing": busy, "open": all_of([~holding.signal, go, running]),
            "stopped": m.reg(came, "stopped_q", reset=0),  # a cycle later: what goes with it is here too
            "m_clearing": m_clearing, "m_run": m_run,
        }  # fmt: skip

    inputs = {"clear": 1, "hard": 1, "m_drained": 1}
    outputs = {"clearing": 1, "open": 1, "stopped": 1, "m_clearing": 1, "m_run": 1}
    return design.module("crossing_control", inputs, outputs, body, reset=False, clock=MEMORY_CLOCK)


_CONTROL = {"clearing": 1, "open": 1, "m_clearing": 1, "m_run": 1}


class _Ends:
    """Both ends of a crossing under construction: `m` and `mem`, and FIFOs between them."""

    def __init__(self, m: Module) -> None:
        self.m, self.mem = m, m.other_side()

    def out(
        self, name: str, valid: Signal, data: Signal, ready: Signal, depth: int = DEPTH
    ) -> tuple[Signal, Signal, Signal]:
        """From the core to memory: (room, valid, data). Nothing enters while the crossing is not open."""
        m, open_ = self.m, self.m["open"]
        out = m.instance(
            async_fifo(m.design, data.width, depth), name, clear=m["clearing"], read_clear=m["m_clearing"],
            in_valid=valid & open_, in_data=data, out_ready=ready,
        )  # fmt: skip
        return out["in_ready"] & open_, out["out_valid"], out["out_data"]

    def back(
        self, name: str, valid: Signal, data: Signal, ready: Signal, depth: int = DEPTH
    ) -> tuple[Signal, Signal, Signal]:
        """From memory to the core."""
        m = self.m
        out = self.mem.instance(
            async_fifo(m.design, data.width, depth), name, clear=m["m_clearing"], read_clear=m["clearing"],
            in_valid=valid, in_data=data, out_ready=ready,
        )  # fmt: skip
        return out["in_ready"], out["out_valid"], out["out_data"]


def _bursts(
    ends: _Ends, way: str, bits: int, bus: int, depth: int = DEPTH
) -> tuple[Signal, dict[str, Signal], Signal, Wire]:
    """Addresses to the bus: (ready of the core, the channel's signals, whether there is one, ready of memory's end)."""
    m, more, taken = ends.m, (bits // bus).bit_length() - 1, Wire(1)
    entry = pack([m[f"{way}addr"], m[f"{way}len"]])
    ready, there, entry = ends.out("addresses", m[f"{way}valid"], entry, taken.signal, depth)
    length = pack([*([const(-1, more)] if more else []), entry[64 : _ADDRESS_BITS - more]])
    channel = address_channel(bus, there & m["m_run"], entry[0:64], length)
    return ready, {f"m_{way}{name}": signal for name, signal in channel.items()}, there, taken


def read_crossing(design: Design, bits: int, bus: int) -> str:
    """A read master of `bits` to a bus of `bus` bits of another clock."""
    parts = bits // bus

    def body(m: Module) -> dict[str, Signal]:
        ends, response = _Ends(m), m["m_rresp"]
        ready, channel, _, taken = _bursts(ends, "ar", bits, bus)
        taken.assign(m["m_arready"] & m["m_run"])
        beats, full, room = [m["m_rdata"]], const(1, 1), Wire(1)
        r_ready = all_of([room.signal, m["m_run"], ~m["m_clearing"]])
        if parts > 1:
            moved = m["m_rvalid"] & r_ready
            index = _counter(ends.mem, "part", moved, parts, m["m_clearing"])
            full = index.eq(parts - 1).named("full")
            for i in range(parts - 1):
                beats.insert(0, ends.mem.reg(beats[0], f"part_{parts - 2 - i}_q", enable=moved))
            kept = ends.mem.state(2, "response_q")
            response = response | mux(index.eq(0), const(0, 2), kept.signal)
            kept.set(response, moved)
        word = pack([*beats, response, m["m_rlast"]])
        there, valid, word = ends.back("data", all_of([m["m_rvalid"], m["m_run"], full]), word, m["rready"])
        room.assign(there | ~full)
        return channel | {
            "arready": ready, "rvalid": valid, "rdata": word[0:bits], "rresp": word[bits : bits + 2],
            "rlast": word[bits + 2], "rid": const(0, 1), "m_rready": r_ready,
        }  # fmt: skip

    return _module(design, f"read_crossing_{bits}_{bus}", READ_MASTER, bits, bus, body)


def write_crossing(design: Design, bits: int, bus: int, outstanding: int) -> str:
    """A write master of `bits`, of at most `outstanding` bursts without an answer, to a bus of `bus` bits of another
    clock. There is room for all their addresses, so that none comes after its data.

    `m_torn`, from a reset to the next: it broke off a burst. `m_drained`: of bursts and data nothing is left here.
    """
    parts, depth = bits // bus, max(DEPTH, 1 << bits_for(outstanding))

    def body(m: Module) -> dict[str, Signal]:
        ends, run, clear = _Ends(m), m["m_run"], m["m_clearing"]
        mem = ends.mem
        ready, channel, there, taken = _bursts(ends, "aw", bits, bus, depth)
        room, sent = Wire(1), Wire(1)
        # In a reset, addresses are answered here and data is dropped.
        drop = all_of([there, ~run, room.signal]).named("drop")
        taken.assign(mux(run, m["m_awready"], drop))
        accepted = all_of([there, run, m["m_awready"]]).named("accepted")
        word = pack([m["wdata"], m["wstrb"], m["wlast"]])
        w_ready, filled, word = ends.out("data", m["wvalid"], word, sent.signal)
        beat = all_of([filled, run, m["m_wready"]]).named("beat")
        data, strobes, last, end = word[0:bits], word[bits : bits + bits // 8], word[bits + bits // 8], const(1, 1)
        if parts > 1:
            index = _counter(mem, "part", beat, parts, clear | ~run)
            end = index.eq(parts - 1).named("end")
            data, strobes = (select(signal.chunks(signal.width // parts), index) for signal in (data, strobes))
        sent.assign((beat & end) | ~run)
        finished = all_of([beat, end, last]).named("finished")
        counted = bits_for(depth + 1) + 1
        open_ = mem.state(counted, "open", reset=0, by=clear | ~run)  # bursts whose address was taken, but those sent
        up_down(open_, accepted, finished)
        partly = mem.reg(~(end & last), "partly_sent", enable=beat, reset=0, by=clear | ~run)
        stop = (mem.reg(run, "run_q", reset=0, by=clear) & ~run).named("stop")
        torn = mem.reg(open_.signal.ne(0) | partly, "torn_q", enable=stop, reset=0, by=clear)
        response = mux(drop, const(0, 2), m["m_bresp"])
        in_ready, b_valid, response = ends.back("responses", (m["m_bvalid"] & run) | drop, response, m["bready"], depth)
        room.assign(in_ready)
        return channel | {
            "awready": ready, "wready": w_ready, "bvalid": b_valid, "bresp": response, "bid": const(0, 1),
            "m_wvalid": filled & run, "m_wdata": data, "m_wstrb": strobes, "m_wlast": last & end,
            "m_bready": in_ready & run, "m_torn": torn, "m_drained": ~(there | filled),
        }  # fmt: skip

    more = {"m_torn": 1, "m_drained": 1}
    return _module(design, f"write_crossing_{bits}_{bus}_{depth}", WRITE_MASTER, bits, bus, body, more)


def _counter(mem: Module, name: str, step: Signal, count: int, clear: Signal) -> Signal:
    index = mem.state(bits_for(count), f"{name}_index", reset=0, by=clear)
    return index.set(index.signal + 1, step)


def _module(design, name, kind, bits, bus, body, more=None):  # type: ignore[no-untyped-def]
    unused = {f"{way}{signal}" for way in ("ar", "aw") for signal in ("id", "size", "burst", "cache", "prot")}
    inputs = _CONTROL | {port: width for port, width in kind.outputs(bits).items() if port not in unused}
    inputs |= {f"m_{port}": width for port, width in kind.inputs(bus).items() if port not in ("rid", "bid")}
    outputs = kind.inputs(bits) | {f"m_{port}": width for port, width in kind.outputs(bus).items()} | (more or {})
    return design.module(name, inputs, outputs, body, reset=False, clock=MEMORY_CLOCK)
