"""The AXI masters of a top module: readers and writers with a queue of commands, their bus signals as its ports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lutllm.lowering.hardware.lib.axi import BEATS_BITS, axi_read_stream, axi_write_stream, read_bus, write_bus
from lutllm.lowering.hardware.lib.bundle import Bundle, Link, Wire
from lutllm.lowering.hardware.lib.circt import Design, Instance, Module
from lutllm.lowering.hardware.lib.crossing import crossing_control, read_crossing, write_crossing
from lutllm.lowering.hardware.lib.signal import Signal, all_of, any_of, const, pack
from lutllm.lowering.hardware.lib.stream import Stream
from lutllm.lowering.hardware.linear.words import beats_to_words
from lutllm.lowering.machine.accelerator import AcceleratorConfig


def bus_ports(config: AcceleratorConfig) -> dict[str, Bundle]:
    """The AXI masters that a top module has."""
    found = {_port(n): read_bus(config.bus_bits(bits), bare=False) for n, bits in config.read_ports.items()}
    return found | {_port(n): write_bus(config.bus_bits(bits), bare=False) for n, bits in config.write_ports.items()}


def _port(name: str) -> str:
    return f"m_axi_{name}"


PLACE_BITS = 48  # of an address in an image that are compared: no memory is larger
_OFFERS = ("arvalid", "awvalid", "wvalid")  # not in a reset
_TAKES = ("arready", "awready", "wready")


def bounds(design: Design, bits: int) -> str:
    """Whether a command at a port of `bits` begins at one of its words and ends within `limit` bytes, seen when it is
    taken: one that is `wrong` goes nowhere, and `outside` is 1 until reset."""
    word = (bits // 8).bit_length() - 1

    def body(m: Module) -> dict[str, Signal]:
        address, wide = m["address"], PLACE_BITS + 1
        end = address[0:PLACE_BITS].zext(wide) + pack([const(0, word), m["beats"]]).zext(wide)
        beyond = [m["limit"].zext(wide).ult(end), address[PLACE_BITS:].ne(0), address[0:word].ne(0)]
        wrong = any_of(beyond).named("wrong")
        return dict(wrong=wrong, outside=m.flag("outside_q", m["taken"] & wrong))

    inputs = {"taken": 1, "address": 64, "beats": BEATS_BITS, "limit": PLACE_BITS}
    return design.module(f"bounds_{bits}", inputs, {"wrong": 1, "outside": 1}, body)


def spread_latency(ports: int) -> int:
    """Cycles from a transfer asked for until each of `ports` has its own."""
    return (ports - 1).bit_length()


def spread(m: Module, asked: Signal, transfer: dict[str, Signal], ports: int) -> tuple[Signal, list[Signal], Signal]:
    """(whether, address for each of `ports`, beats) of a transfer of `beats` at all of them, `stride` bytes apart from
    `address` on: a tree that adds half of the ports' strides, then a quarter, a level a cycle."""
    addresses, beats, stride = {0: transfer["address"]}, transfer["beats"], transfer["stride"]
    for level in reversed(range(spread_latency(ports))):
        ahead = pack([const(0, level), stride]).zext(64) if level else stride.zext(64)
        others = {i + (1 << level): address + ahead for i, address in addresses.items() if i + (1 << level) < ports}
        addresses = {i: m.reg(address, f"w_address_{i}") for i, address in (addresses | others).items()}
        asked, beats = m.reg(asked, "w_asked", reset=0), m.reg(beats, "w_beats")
        stride = m.reg(stride, "w_stride")
    return asked, [addresses[i] for i in range(ports)], beats


@dataclass
class Masters:
    """Instantiates masters in a top module `m`; `outputs` are their buses, `errors` those of the readers, `idle` those
    of all, `answers` what memory says in this cycle, `outside` whether one was asked for what is beyond `limit`, `torn`
    those of the writers, to be looked at when `stopped`.

    Addresses of commands are relative to `base`, and end at `limit` (64 bits each). With `hard` the bus stands still;
    `clear` makes the masters forget what it owes. Where the machine says that the bus has a clock of its own, it is
    the other one of `m`.
    """

    m: Module
    config: AcceleratorConfig
    base: Signal
    limit: Signal
    hard: Signal
    clear: Signal
    outputs: dict[str, Link] = field(default_factory=dict)
    errors: list[Signal] = field(default_factory=list)
    idle: list[Signal] = field(default_factory=list)
    answers: list[Signal] = field(default_factory=list)
    outside: list[Signal] = field(default_factory=list)
    torn: list[Signal] = field(default_factory=list)
    drained: list[Signal] = field(default_factory=list)

    def __post_init__(self) -> None:
        m = self.m
        self.stopped = self.hard & ~m.reg(self.hard, "hard_q")
        self.control: Instance | None = None
        if self.config.clocks is not None:
            self.control = m.instance(crossing_control(m.design), "crossing", clear=self.clear, hard=self.hard)
            self.stopped = self.control["stopped"]
            self.idle.append(self.control["control"].open)

    def close(self) -> None:
        """Once all masters are there."""
        if self.control:
            self.control.connect(m_drained=all_of([const(1, 1), *self.drained]))

    def reader(self, name: str, bits: int, command: Stream, depth: int | None = None) -> Stream:
        """A read master; `command` is a stream of address and beats. Returns its data stream."""
        made = axi_read_stream(self.m.design, bits, depth=depth, **self._sizes(bits))
        out = self._instance(made, f"read_{name}", name, bits, command)
        self.errors.append(out["error"])
        stream: Stream = out["data"]
        return stream

    def writer(
        self, name: str, bits: int, command: Stream, data: Stream, depth: int, responses: int
    ) -> tuple[Signal, Signal]:
        """A write master of stream `data` with up to `responses` bursts without one; returns (`done`: a command's last
        response is in, error)."""
        sizes = self._sizes(bits) | {"outstanding": responses}
        made = axi_write_stream(self.m.design, bits, depth=depth, **sizes)
        out = self._instance(made, f"write_{name}", name, bits, command, responses, data=data, hard=self.hard)
        if not self.control:
            self.torn.append(out["torn"])
        return out["done"], out["error"]

    def _sizes(self, bits: int) -> dict[str, int]:
        return dict(burst_beats=self.config.burst_beats(bits), outstanding=self.config.engine.outstanding)

    def _instance(
        self, module: str, instance: str, name: str, bits: int, command: Stream, responses: int = 0, **inputs: Any
    ) -> Instance:
        """A master whose commands are checked and moved to `base`, and its bus, which stands still with `hard`."""
        m = self.m
        given = dict(taken=command.moves, address=command.address, beats=command.beats, limit=self.limit[0:PLACE_BITS])
        checked = m.instance(bounds(m.design, bits), f"bounds_{name}", **given)
        inside = Stream(command.valid & ~checked["wrong"], address=command.address + self.base, beats=command.beats)
        command.drive(ready=inside.ready)
        out = m.instance(module, instance, command=inside, clear=self.clear, **inputs)
        own, outer = out["bus"], {n: Wire(w.signal.width) for n, w in out["bus"].back.items()}
        own.drive(**{n: w.signal & ~self.hard if n in _TAKES else w.signal for n, w in outer.items()})
        bus = Link({n: s & ~self.hard if n in _OFFERS else s for n, s in own.forward.items()}, outer)
        self.answers.append(outer["bvalid" if responses else "rvalid"].signal)
        self.outputs[_port(name)] = self._crossed(name, bits, bus, responses) if self.control else bus
        self.idle.append(out["idle"])
        self.outside.append(checked["outside"])
        return out

    def _crossed(self, name: str, bits: int, own: Link, responses: int) -> Link:
        """The bus of a master at the other clock."""
        m, bus = self.m, self.config.bus_bits(bits)
        made = write_crossing(m.design, bits, bus, responses) if responses else read_crossing(m.design, bits, bus)
        used = m.design.modules[made].inputs["given"].forward
        assert self.control is not None
        control = Link(self.control["control"].forward)
        out = m.instance(made, f"crossing_{name}", control=control, given=Link({n: own.forward[n] for n in used}))
        own.drive(**out["core"].forward)
        if responses:
            self.drained.append(out["m_drained"])
            self.torn.append(m.synchronized(out["m_torn"], f"{name}_torn"))
        link: Link = out["m"]
        link.back["bid" if responses else "rid"] = Wire(1)  # which nobody reads
        return link

    def words(self, name: str, beats: Stream, word_bits: int) -> Stream:
        """Beats joined to words of `word_bits`."""
        made = beats_to_words(self.m.design, beats.data.width, word_bits)
        stream: Stream = self.m.instance(made, f"words_{name}", **{"in": beats})["out"]
        return stream
