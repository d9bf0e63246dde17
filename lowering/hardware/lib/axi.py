"""AXI4 masters for streams: commands in, bursts on the bus, data as a stream.

In: a `Design` and a port width. Out: the names of two modules, a reader and a writer. Both take commands (`address`,
aligned to the port width, and `beats`), cut them into INCR bursts at multiples of `burst_beats` (so no burst
crosses 4 KB), and work on the next command while earlier ones are under way. One id is used: answers come in order.
Every output depends on registers only.

Their reset cuts no transfer off. It drops commands and data; bursts that were asked for run to their end, their answers
are counted and dropped, and until then `idle` is 0. So hold it until then. What the bus still owes is forgotten with
`clear` alone, when the device is configured. A `hard` reset beside it, of the whole bus, takes back what the writer
offers; where that breaks a burst off, `torn` is 1 as it comes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lutllm.errors import CapacityError
from lutllm.lowering.hardware.lib.bundle import Bundle, Link, Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, all_of, const, mux, pack
from lutllm.lowering.hardware.lib.state import up_down
from lutllm.lowering.hardware.lib.stream import Stream
from lutllm.numerics import bits_for

BEATS_BITS = 32
# Cycles, besides memory's own: from the request for a burst until its first beat may be taken (address queue and data
# queue); from a burst's last word in the writer until its first is on the bus; from memory's answer to `done`.
READ, WRITE, ANSWERED = 2, 3, 1
_PAGE = 4096


def _channel(way: str) -> dict[str, int]:
    widths = dict(valid=1, id=1, addr=64, len=8, size=3, burst=2, cache=4, prot=3)
    return {f"{way}{name}": bits for name, bits in widths.items()}


def read_bus(bits: int, *, bare: bool = True) -> Bundle:
    """The signals of an AXI4 read master: its own go out, memory's come back."""
    back = dict(arready=1, rvalid=1, rid=1, rdata=bits, rresp=2, rlast=1)
    return Bundle(_channel("ar") | {"rready": 1}, back, bare=bare)


def write_bus(bits: int, *, bare: bool = True) -> Bundle:
    """The signals of an AXI4 write master."""
    data = dict(wvalid=1, wdata=bits, wstrb=bits // 8, wlast=1, bready=1)
    return Bundle(_channel("aw") | data, dict(awready=1, wready=1, bvalid=1, bid=1, bresp=2), bare=bare)


def commands() -> Bundle:
    """A stream of transfers: `address`, aligned to the port width, and `beats`."""
    return Stream.of(address=64, beats=BEATS_BITS)


def axi_read_stream(
    design: Design, bits: int, *, burst_beats: int = 16, outstanding: int = 4, depth: int | None = None
) -> str:
    """A reader: stream `command` (address 64, beats 32) in, stream `data` of `bits` out, AXI4 read master.

    It keeps room for `outstanding` full bursts, or for `depth` beats, and asks for a burst only when a full one will
    fit, so `rready` is always 1. `error` goes high with the first bad response, or beat that is not owed, and stays
    until reset. `idle`: no command, and no beat owed. A command of 0 beats is taken and gives nothing.
    """
    limit = burst_limit(bits, burst_beats)
    depth = limit * outstanding if depth is None else depth

    def body(m: Module) -> dict[str, Any]:
        free = m.state(bits_for(max(depth, limit) + 1), "free", reset=depth)
        width = free.signal.width
        owed = m.state(width, "owed", reset=0, by=m["clear"])
        expected = owed.signal.ne(0).named("expected")
        beat = (m["rvalid"] & expected).named("beat")
        data = Stream(beat, data=m["rdata"]).fifo(m, "data_queue", depth)
        burst = _bursts(m, m["arready"], m["clear"], bits, limit, ~free.signal.ult(limit))
        taken = mux(burst.issue, burst.beats.zext(width), const(0, width)).named("taken")
        free.set(free.signal - taken + data.moves.zext(width))
        owed.set(owed.signal + taken - beat.zext(width))
        return dict(
            data=data,
            error=m.flag("error_q", m["rvalid"] & (m["rresp"].ne(0) | ~expected)),
            idle=~burst.active & ~expected,
            bus=Link(address_channel("ar", bits, burst.address) | dict(rready=const(1, 1))),
        )

    inputs = {"clear": 1, "command": commands()}
    outputs = {"data": Stream.of(bits), "error": 1, "idle": 1, "bus": read_bus(bits)}
    return design.module(f"axi_read_{bits}x{limit}_{depth}", inputs, outputs, body)


def axi_write_stream(
    design: Design, bits: int, *, burst_beats: int = 16, outstanding: int = 4, depth: int | None = None
) -> str:
    """A writer: streams `command` (address 64, beats 32, at least 1) and `data` of `bits` in, AXI4 write master.

    A burst's address goes out when all its data is among the `depth` words (two bursts, where it is not given) that are
    kept here, so the bus never waits for the design. At most `outstanding` bursts await their response. `done` is 1 for
    a cycle when the last response of a command has come; `idle`: no command, and no response owed. `error` goes high
    with the first bad response, or one that is not owed, and stays until reset.
    """
    limit = burst_limit(bits, burst_beats)
    depth = 2 * limit if depth is None else depth

    def body(m: Module) -> dict[str, Any]:
        stored = m.state(bits_for(max(depth, limit) + 1), "stored", reset=0)
        width, room, all_sent = stored.signal.width, Wire(1), Wire(1)
        # With a reset, what no burst was asked for leaves only after what one was: the data of those still goes out.
        drop = (m["hard"] | m["clear"]).named("drop")
        offered = Stream(m["data"].valid & ~m.rst, data=m["data"].data)
        m["data"].drive(ready=offered.ready)
        data = offered.fifo(m, "data_queue", depth, rst=(drop | (m.rst & all_sent.signal)).named("empty"))
        burst = _bursts(
            m, m["awready"], drop, bits, limit, room.signal, lambda beats: ~stored.signal.ult(beats.zext(width)),
        )  # fmt: skip
        taken = mux(burst.issue, burst.beats.zext(width), const(0, width))
        stored.set(stored.signal + offered.moves.zext(width) - taken)
        left = m.state(burst.beats.width, "beats_left", reset=0, by=drop)
        active, last = left.signal.ne(0), left.signal.eq(1)
        between = (~active).named("between_bursts")
        beat = (active & m["wready"]).named("beat")
        data.drive(ready=beat)
        burst_sent = (beat & last).named("burst_sent")
        load = (between | burst_sent).named("load")
        issued = Stream(burst.issue, data=burst.beats), Stream(burst.issue, data=burst.last)
        lengths = issued[0].fifo(m, "length_queue", outstanding, rst=drop)
        responses = issued[1].fifo(m, "response_queue", outstanding, rst=drop)
        room.assign(issued[0].ready & issued[1].ready)
        lengths.drive(ready=load)
        responses.drive(ready=m["bvalid"])
        all_sent.assign(between & (~lengths.valid).named("no_burst"))
        left.set(mux(load, mux(lengths.valid, lengths.data, const(0, left.signal.width)), left.signal - 1), load | beat)
        counted = bits_for(outstanding + 1) + 1
        accepted = burst.address.moves.named("accepted")
        owed = m.state(counted, "owed", reset=0, by=m["clear"])  # responses of bursts whose address was taken
        up_down(owed, accepted, m["bvalid"] & owed.signal.ne(0))
        open_ = m.state(counted, "open", reset=0, by=drop)  # bursts whose address was taken, but those sent
        up_down(open_, accepted, burst_sent)
        partly = m.reg(~last, "partly_sent", enable=beat, reset=0, by=drop)
        out = dict(wvalid=active, wdata=data.data, wstrb=const(-1, bits // 8), wlast=last, bready=const(1, 1))
        return dict(
            done=m.reg(all_of([m["bvalid"], responses.valid, responses.data]), "done_q", reset=0),
            error=m.flag("error_q", m["bvalid"] & (m["bresp"].ne(0) | ~responses.valid)),
            idle=all_of([~burst.active, ~responses.valid, owed.signal.eq(0)]),
            torn=open_.signal.ne(0) | partly,
            bus=Link(address_channel("aw", bits, burst.address) | out),
        )

    inputs = {"clear": 1, "hard": 1, "command": commands(), "data": Stream.of(bits)}
    outputs = {"done": 1, "error": 1, "idle": 1, "torn": 1, "bus": write_bus(bits)}
    return design.module(f"axi_write_{bits}x{limit}x{outstanding}_{depth}", inputs, outputs, body)


@dataclass
class _Burst:
    """The burst at hand: `issue` when it goes out, `last` of its command. `active`: there is a command. `address`: the
    stream of them to the bus."""

    issue: Signal
    last: Signal
    beats: Signal
    active: Signal
    address: Stream


def _bursts(
    m: Module,
    ready: Signal,
    drop: Signal,
    bits: int,
    limit: int,
    may: Signal,
    fits: Callable[[Signal], Signal] | None = None,
) -> _Burst:
    """Cut commands into bursts that end at multiples of `limit` beats and queue their addresses, which `drop` forgets.
    A burst of `beats` goes out where it `may` and, if that is asked for, `fits(beats)`."""
    word, position_bits = (bits // 8).bit_length() - 1, limit.bit_length() - 1
    active, command = m.state(1, "active", reset=0), m["command"]
    address, left = m.state(64, "address"), m.state(BEATS_BITS, "left")
    room = const(limit, BEATS_BITS)
    if position_bits:
        room = room - address.signal[word : word + position_bits].zext(BEATS_BITS)
    last = left.signal.compare("ule", room.named("beats_to_boundary")).named("last_burst")
    beats = mux(last, left.signal, room).named("beats")
    short, issue = bits_for(limit + 1), Wire(1)
    fitting = [mux(last, fits(left.signal[0:short]), fits(room[0:short]))] if fits else []
    burst = Stream(issue.signal, address=address.signal, length=(beats - 1)[0:8])
    queued = burst.slice(m, "address_queue", rst=drop)
    # Not in a reset, so that nothing is asked for once `idle` may be looked at.
    issue.assign(all_of([active.signal, burst.ready, may, *fitting, ~m.rst]).named("issue"))
    finished = (issue.signal & last).named("finished")
    command.drive(ready=~active.signal | finished)
    accept = command.moves.named("accept")
    active.set(mux(accept, command.beats.ne(0), active.signal & ~finished))
    step = pack([const(0, word), beats]).zext(64)
    address.set(mux(accept, command.address, address.signal + step), accept | issue.signal)
    left.set(mux(accept, command.beats, left.signal - beats), accept | issue.signal)
    queued.drive(ready=ready)
    return _Burst(issue.signal, last, beats[0:short], active.signal, queued)


def address_channel(way: str, bits: int, burst: Stream) -> dict[str, Signal]:
    """The signals of bursts (`address`, `length`) of beats of `bits`, as every master here gives them."""
    size = (bits // 8).bit_length() - 1
    channel = dict(valid=burst.valid, addr=burst.address, len=burst.length, size=const(size, 3), burst=const(1, 2))
    # Bufferable and modifiable, as interconnects want that may widen or merge bursts; data, secure, unprivileged.
    channel |= dict(id=const(0, 1), cache=const(3, 4), prot=const(0, 3))
    return {f"{way}{name}": signal for name, signal in channel.items()}


def burst_limit(bits: int, burst_beats: int) -> int:
    """Beats of the longest burst: a power of two, at most 256 and at most a page."""
    if bits not in (8, 16, 32, 64, 128, 256, 512, 1024):
        raise CapacityError(f"AXI port: expected a width of 8..1024 bits, a power of two, got {bits}")
    if burst_beats < 1 or burst_beats > 256 or burst_beats & (burst_beats - 1):
        raise CapacityError(f"AXI port: expected burst_beats to be a power of two in 1..256, got {burst_beats}")
    return min(burst_beats, _PAGE // (bits // 8))
