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

from lutllm.errors import CapacityError
from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, Wire, all_of, const, mux, pack, up_down
from lutllm.lowering.hardware.lib.memory import fifo
from lutllm.numerics import bits_for

BEATS_BITS = 32
# Cycles, besides memory's own: from the request for a burst until its first beat may be taken (address queue and data
# queue); from a burst's last word in the writer until its first is on the bus; from memory's answer to `done`.
READ, WRITE, ANSWERED = 2, 3, 1
_PAGE = 4096


@dataclass(frozen=True)
class AxiMaster:
    """Signals of one AXI4 master without its name prefix; `None` is the data width, `-8` an eighth of it."""

    input_widths: tuple[tuple[str, int | None], ...]
    output_widths: tuple[tuple[str, int | None], ...]

    def inputs(self, bits: int) -> dict[str, int]:
        return _widths(self.input_widths, bits)

    def outputs(self, bits: int) -> dict[str, int]:
        return _widths(self.output_widths, bits)


def _widths(signals: tuple[tuple[str, int | None], ...], bits: int) -> dict[str, int]:
    return {name: bits if width is None else bits // 8 if width == -8 else width for name, width in signals}


READ_MASTER = AxiMaster(
    (("arready", 1), ("rvalid", 1), ("rid", 1), ("rdata", None), ("rresp", 2), ("rlast", 1)),
    (
        ("arvalid", 1),
        ("arid", 1),
        ("araddr", 64),
        ("arlen", 8),
        ("arsize", 3),
        ("arburst", 2),
        ("arcache", 4),
        ("arprot", 3),
        ("rready", 1),
    ),
)
WRITE_MASTER = AxiMaster(
    (("awready", 1), ("wready", 1), ("bvalid", 1), ("bid", 1), ("bresp", 2)),
    (("awvalid", 1), ("awid", 1), ("awaddr", 64), ("awlen", 8), ("awsize", 3), ("awburst", 2), ("awcache", 4),
     ("awprot", 3), ("wvalid", 1), ("wdata", None), ("wstrb", -8), ("wlast", 1), ("bready", 1)),
)  # fmt: skip


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
    address_queue, data_queue = fifo(design, 72, 2), fifo(design, bits, depth)

    def body(m: Module) -> dict[str, Signal]:
        free = m.state(bits_for(max(depth, limit) + 1), "free", reset=depth)
        width = free.signal.width
        owed = m.state(width, "owed", reset=0, by=m["clear"])
        expected = owed.signal.ne(0).named("expected")
        beat = (m["rvalid"] & expected).named("beat")
        data = m.instance(data_queue, "data_queue", in_valid=beat, in_data=m["rdata"], out_ready=m["data_ready"])
        popped = data["out_valid"] & m["data_ready"]
        burst, address = _bursts(m, address_queue, m["arready"], m["clear"], bits, limit, ~free.signal.ult(limit))
        taken = mux(burst.issue, burst.beats.zext(width), const(0, width)).named("taken")
        free.set(free.signal - taken + popped.zext(width))
        owed.set(owed.signal + taken - beat.zext(width))
        return dict(
            command_ready=burst.command_ready,
            data_valid=data["out_valid"],
            data_data=data["out_data"],
            error=_sticky(m, m["rvalid"] & (m["rresp"].ne(0) | ~expected)),
            idle=~burst.active & ~expected,
            **{f"ar{name}": signal for name, signal in address.items()},
            rready=const(1, 1),
        )

    inputs = _COMMAND | {"data_ready": 1} | READ_MASTER.inputs(bits)
    outputs = {"command_ready": 1, "data_valid": 1, "data_data": bits, "error": 1, "idle": 1}
    return design.module(f"axi_read_{bits}x{limit}_{depth}", inputs, outputs | READ_MASTER.outputs(bits), body)


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
    address_queue, data_queue = fifo(design, 72, 2), fifo(design, bits, depth)
    length_queue, response_queue = fifo(design, bits_for(limit + 1), outstanding), fifo(design, 1, outstanding)

    def body(m: Module) -> dict[str, Signal]:
        stored = m.state(bits_for(max(depth, limit) + 1), "stored", reset=0)
        width, length_ready, response_ready, sent = stored.signal.width, Wire(1), Wire(1), Wire(1)
        # With a reset, what no burst was asked for leaves only after what one was: the data of those still goes out.
        drop = (m["hard"] | m["clear"]).named("drop")
        all_sent, offered = Wire(1), (m["data_valid"] & ~m.rst).named("offered")
        data = m.instance(
            data_queue, "data_queue", rst=(drop | (m.rst & all_sent.signal)).named("empty"),
            in_valid=offered, in_data=m["data_data"], out_ready=sent.signal,
        )  # fmt: skip
        room = length_ready.signal & response_ready.signal
        burst, address = _bursts(
            m,
            address_queue,
            m["awready"],
            drop,
            bits,
            limit,
            room,
            lambda beats: ~stored.signal.ult(beats.zext(width)),
        )
        arrived = (offered & data["in_ready"]).zext(width)
        taken = mux(burst.issue, burst.beats.zext(width), const(0, width))
        stored.set(stored.signal + arrived - taken)
        left = m.state(burst.beats.width, "beats_left", reset=0, by=drop)
        active, last = left.signal.ne(0), left.signal.eq(1)
        between = (~active).named("between_bursts")
        beat = (active & m["wready"]).named("beat")
        sent.assign(beat)
        burst_sent = (beat & last).named("burst_sent")
        load = (between | burst_sent).named("load")
        lengths = m.instance(
            length_queue, "length_queue", rst=drop, in_valid=burst.issue, in_data=burst.beats, out_ready=load
        )
        all_sent.assign(between & (~lengths["out_valid"]).named("no_burst"))
        length_ready.assign(lengths["in_ready"])
        following = mux(lengths["out_valid"], lengths["out_data"], const(0, left.signal.width))
        left.set(mux(load, following, left.signal - 1), load | beat)
        responses = m.instance(
            response_queue, "response_queue", rst=drop,
            in_valid=burst.issue, in_data=burst.last, out_ready=m["bvalid"],
        )  # fmt: skip
        response_ready.assign(responses["in_ready"])
        counted = bits_for(outstanding + 1) + 1
        accepted = (address["valid"] & m["awready"]).named("accepted")
        owed = m.state(counted, "owed", reset=0, by=m["clear"])  # responses of bursts whose address was taken
        up_down(owed, accepted, m["bvalid"] & owed.signal.ne(0))
        open_ = m.state(counted, "open", reset=0, by=drop)  # bursts whose address was taken, but those sent
        up_down(open_, accepted, burst_sent)
        partly = m.reg(~last, "partly_sent", enable=beat, reset=0, by=drop)
        return dict(
            command_ready=burst.command_ready,
            data_ready=data["in_ready"],
            done=m.reg(all_of([m["bvalid"], responses["out_valid"], responses["out_data"]]), "done_q", reset=0),
            error=_sticky(m, m["bvalid"] & (m["bresp"].ne(0) | ~responses["out_valid"])),
            idle=all_of([~burst.active, ~responses["out_valid"], owed.signal.eq(0)]),
            torn=open_.signal.ne(0) | partly,
            **{f"aw{name}": signal for name, signal in address.items()},
            wvalid=active,
            wdata=data["out_data"],
            wstrb=const(-1, bits // 8),
            wlast=last,
            bready=const(1, 1),
        )

    inputs = _COMMAND | {"hard": 1, "data_valid": 1, "data_data": bits} | WRITE_MASTER.inputs(bits)
    outputs = {"command_ready": 1, "data_ready": 1, "done": 1, "error": 1, "idle": 1, "torn": 1}
    name = f"axi_write_{bits}x{limit}x{outstanding}_{depth}"
    return design.module(name, inputs, outputs | WRITE_MASTER.outputs(bits), body)


_COMMAND = {"clear": 1, "command_valid": 1, "command_address": 64, "command_beats": BEATS_BITS}


@dataclass
class _Burst:
    """The burst at hand: `issue` when it goes out, `last` of its command. `active`: there is a command."""

    issue: Signal
    last: Signal
    beats: Signal
    command_ready: Signal
    active: Signal


def _bursts(
    m: Module,
    queue: str,
    ready: Signal,
    drop: Signal,
    bits: int,
    limit: int,
    may: Signal,
    fits: Callable[[Signal], Signal] = lambda _: const(1, 1),
) -> tuple[_Burst, dict[str, Signal]]:
    """Cut commands into bursts that end at multiples of `limit` beats and queue their addresses, which `drop` forgets.

    Returns the burst and the signals of the address channel. A burst of `beats` goes out
    where it `may` and `fits(beats)`.
    """
    word, position_bits = (bits // 8).bit_length() - 1, limit.bit_length() - 1
    active = m.state(1, "active", reset=0)
    address, left = m.state(64, "address"), m.state(BEATS_BITS, "left")
    room = const(limit, BEATS_BITS)
    if position_bits:
        room = room - address.signal[word : word + position_bits].zext(BEATS_BITS)
    last = left.signal.compare("ule", room.named("beats_to_boundary")).named("last_burst")
    beats = mux(last, left.signal, room).named("beats")
    queued, short = Wire(1), bits_for(limit + 1)
    fitting = mux(last, fits(left.signal[0:short]), fits(room[0:short])).named("fitting")
    # Not in a reset, so that nothing is asked for once `idle` may be looked at.
    issue = all_of([active.signal, queued.signal, may, fitting, ~m.rst]).named("issue")
    finished = (issue & last).named("finished")
    command_ready = ~active.signal | finished
    accept = (m["command_valid"] & command_ready).named("accept")
    active.set(mux(accept, m["command_beats"].ne(0), active.signal & ~finished))
    step = pack([const(0, word), beats]).zext(64)
    address.set(mux(accept, m["command_address"], address.signal + step), accept | issue)
    left.set(mux(accept, m["command_beats"], left.signal - beats), accept | issue)
    length = (beats - 1)[0:8]
    entry = pack([address.signal, length])
    out = m.instance(queue, "address_queue", rst=drop, in_valid=issue, in_data=entry, out_ready=ready)
    queued.assign(out["in_ready"])
    channel = address_channel(bits, out["out_valid"], out["out_data"][0:64], out["out_data"][64:72])
    return _Burst(issue, last, beats[0:short], command_ready, active.signal), channel


def address_channel(bits: int, valid: Signal, address: Signal, length: Signal) -> dict[str, Signal]:
    """The signals of a burst of beats of `bits`, as every master here gives them."""
    size = (bits // 8).bit_length() - 1
    channel = dict(valid=valid, addr=address, len=length, size=const(size, 3), burst=const(1, 2), id=const(0, 1))
    # Bufferable and modifiable, as interconnects want that may widen or merge bursts; data, secure, unprivileged.
    return channel | dict(cache=const(3, 4), prot=const(0, 3))


def _sticky(m: Module, event: Signal) -> Signal:
    seen = m.state(1, "error_q", reset=0)
    return seen.set(seen.signal | event)


def burst_limit(bits: int, burst_beats: int) -> int:
    """Beats of the longest burst: a power of two, at most 256 and at most a page."""
    if bits not in (8, 16, 32, 64, 128, 256, 512, 1024):
        raise CapacityError(f"AXI port: expected a width of 8..1024 bits, a power of two, got {bits}")
    if burst_beats < 1 or burst_beats > 256 or burst_beats & (burst_beats - 1):
        raise CapacityError(f"AXI port: expected burst_beats to be a power of two in 1..256, got {burst_beats}")
    return min(burst_beats, _PAGE // (bits // 8))
