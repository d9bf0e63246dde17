"""Streams and the ports of memories: bundles that a module declares and an instance connects by one name.

A word of a stream moves in a cycle where `valid` and `ready` are both 1; valid never waits for ready. What stands
between both ends - a register slice, a FIFO, a crossing to another clock - their users do not see.
"""

from __future__ import annotations

from lutllm.lowering.hardware.lib.bundle import Bundle, Link, Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import following, pointer, ram, stored
from lutllm.lowering.hardware.lib.signal import Fields, Signal, Time, const, mux, pack
from lutllm.lowering.hardware.lib.state import FillLevel
from lutllm.numerics import bits_for

DEEP, DEEP_BITS = 128, 16 * 1024  # from here on, words and bits, a FIFO's words are in block RAM
FIFO_LATENCY = 1  # cycles from a push until the word may be taken, from a pop until its room is there
CROSSING_DEPTH = 16  # words of a FIFO: more than a way there and back takes, and what a LUTRAM has in any case


class Stream(Link):
    """One end of a stream: `valid`, a payload of fields (`data` where there is one), and `ready`, which goes back."""

    def __init__(self, valid: Signal, **payload: Signal) -> None:
        super().__init__({"valid": valid, **payload}, {"ready": Wire(1)})

    @staticmethod
    def of(data: int | None = None, **payload: int) -> Bundle:
        """A port for streams of such a payload, in bits."""
        payload = payload if data is None else {"data": data}
        return Bundle({"valid": 1, **payload}, {"ready": 1}, kind=Stream)

    @property
    def moves(self) -> Signal:
        return self.valid & self.ready

    @property
    def payload(self) -> dict[str, Signal]:
        return {name: signal for name, signal in self.forward.items() if name != "valid"}

    def carrying(self, **payload: Signal) -> Stream:
        """The same stream with another payload."""
        widths = {name: signal.width for name, signal in payload.items()}
        found: Stream = Stream.of(**widths).link({"valid": self.valid, **payload}, self.back)
        return found

    def gated(self, open_: Signal) -> Stream:
        """The same, which moves only while it is `open_`."""
        found = Stream(self.valid & open_, **self.payload)
        self.drive(ready=found.ready & open_)
        return found

    def _packed(self) -> tuple[Fields, Stream]:
        record = Fields(**{name: signal.width for name, signal in self.payload.items()})
        return record, self.carrying(data=record.pack(**self.payload))

    def fifo(self, m: Module, name: str, depth: int, **rst: Signal) -> Stream:
        """The other end of a FIFO, which has another reset where it is given `rst`."""
        record, given = self._packed()
        made = m.instance(fifo(m.design, record.width, depth), name, **{"in": given}, **rst)
        out: Stream = made["out"]
        return out.carrying(**record.unpack(out.data))

    def slice(self, m: Module, name: str, **rst: Signal) -> Stream:
        """The other end of a register slice, through which no path leads in either direction."""
        return self.fifo(m, name, 2, **rst)

    def cross(self, m: Module, name: str, clear: Signal, read_clear: Signal, depth: int = CROSSING_DEPTH) -> Stream:
        """The end at the other clock of `m`. Each clear is of its own clock."""
        record, given = self._packed()
        made = async_fifo(m.design, record.width, depth)
        out: Stream = m.output_of(made, name, clear=clear, read_clear=read_clear, **{"in": given})
        return out.carrying(**record.unpack(out.data))


class Read(Link):
    """A port that reads a memory: `data` comes back, at once, or with an `enable` a cycle later."""

    def __init__(self, address: Signal, bits: int, enable: Signal | None = None) -> None:
        data = Wire(bits)
        super().__init__({"address": address} | ({} if enable is None else {"enable": enable}), {"data": data})
        time = self.address.time
        if isinstance(time, Time):
            data.signal.time = time.later(0 if enable is None else 1)

    @staticmethod
    def of(address: int, bits: int, *, enable: bool = True) -> Bundle:
        return Bundle({"address": address} | ({"enable": 1} if enable else {}), {"data": bits}, "enable", kind=Read)


class Write(Link):
    """A port that writes a memory."""

    def __init__(self, enable: Signal, address: Signal, data: Signal) -> None:
        super().__init__(dict(enable=enable, address=address, data=data))

    def later(self, m: Module) -> Write:
        """The same port from registers: it writes a cycle later."""
        return Write(*(m.reg(signal, f"{name}_q") for name, signal in self.forward.items()))

    @staticmethod
    def of(address: int, bits: int) -> Bundle:
        return Bundle(dict(enable=1, address=address, data=bits), plain="enable", kind=Write)


def fifo(design: Design, width: int, depth: int) -> str:
    """A stream FIFO of `depth` words, from `in` to `out`; it has `count` of them.

    Words fall through after one cycle; both ends move every cycle. No path leads from out_ready to in_ready.
    """

    def body(m: Module) -> dict[str, Signal | Stream]:
        level, given, data = FillLevel(m, depth), m["in"], Wire(width)
        given.drive(ready=level.room)
        out = Stream(level.any, data=data.signal)
        push, pop = given.moves, out.moves
        level.move(push, pop)
        deep = depth * width >= DEEP_BITS and depth >= DEEP
        if depth == 1:
            data.assign(m.reg(given.data, "word", enable=push))
        else:
            data.assign((_deep if deep else _held)(m, depth, push, pop))
        return dict(out=out, count=level.count)

    def _held(m: Module, depth: int, push: Signal, pop: Signal) -> Signal:
        head, tail = pointer(m, "write_pointer", depth, push), pointer(m, "read_pointer", depth, pop)
        return stored(m, "store", depth, write=(push, head, m["in"].data), read=tail)

    def _deep(m: Module, depth: int, push: Signal, pop: Signal) -> Signal:
        """In block RAM, which is read a cycle ahead: a word that is written just then goes past it."""
        head, tail = pointer(m, "write_pointer", depth, push), m.state(bits_for(depth), "read_pointer", reset=0)
        ahead, data = mux(pop, following(tail.signal, depth), tail.signal), m["in"].data
        tail.set(ahead)
        read = stored(m, "store", depth, write=(push, head, data), read=(const(1, 1), ahead))
        passes = push & head.eq(ahead)
        return mux(m.reg(passes, "passed", reset=0), m.reg(data, "passed_word", enable=passes), read)

    return design.module(
        f"fifo_{depth}x{width}", {"in": Stream.of(width)}, {"out": Stream.of(width), "count": bits_for(depth + 1)}, body
    )


def async_fifo(design: Design, width: int, depth: int = CROSSING_DEPTH) -> str:
    """A stream FIFO of `depth` words, a power of two, that is filled with clock `clk` and emptied with `read_clk`.

    Pointers cross in Gray code, through two registers each. `clear` and `read_clear`, each of its own clock, empty it;
    both must be 1 for some cycles at a time, and nothing comes meanwhile.
    """
    assert depth > 1 and depth & (depth - 1) == 0
    bits = bits_for(depth) + 1

    def body(m: Module) -> dict[str, Signal | Stream]:
        r, given, head, tail, data = m.other_side(), m["in"], Wire(bits), Wire(bits), Wire(width)
        # Full where the pointers are a whole round apart: their two highest bits in Gray code differ, the rest do not.
        seen = m.synchronized(tail.signal, "tail") ^ (3 << bits - 2)
        given.drive(ready=(head.signal.ne(seen) & ~m["clear"]).named("room"))
        filled = (tail.signal.ne(r.synchronized(head.signal, "head")) & ~m["read_clear"]).named("filled")
        out = Stream(filled, data=data.signal)
        push = given.moves.named("push")
        place, code = _pointer(m, "write", push, m["clear"], bits)
        head.assign(code)
        read, code = _pointer(r, "read", out.moves, m["read_clear"], bits)
        tail.assign(code)
        data.assign(stored(m, "store", depth, write=(push, place, given.data), read=read))
        return dict(out=out)

    inputs = {"clear": 1, "read_clear": 1, "in": Stream.of(width)}
    ram(design, depth, width, read_latency=0)
    return design.module(
        f"async_fifo_{depth}x{width}", inputs, {"out": Stream.of(width)}, body, reset=False, clock="read_clk"
    )


def _pointer(m: Module, name: str, step: Signal, clear: Signal, bits: int) -> tuple[Signal, Signal]:
    """(the place in memory, the pointer in Gray code), both registers."""
    count = m.state(bits, f"{name}_pointer", reset=0, by=clear)
    following = count.signal + 1
    count.set(following, step)
    gray = following ^ pack([following[1:], const(0, 1)])
    return count.signal[0 : bits - 1], m.reg(gray, f"{name}_gray", enable=step, reset=0, by=clear)
