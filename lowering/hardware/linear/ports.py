"""The AXI masters of a top module: readers and writers with a queue of commands, their bus signals as its ports."""

from __future__ import annotations

from lutllm.lowering.hardware.lib.axi import (
    BEATS_BITS,
    READ_MASTER,
    WRITE_MASTER,
    AxiMaster,
    axi_read_stream,
    axi_write_stream,
)
from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, Wire, all_of, const, mux, pack
from lutllm.lowering.hardware.lib.crossing import crossing_control, read_crossing, write_crossing
from lutllm.lowering.hardware.lib.memory import Stream
from lutllm.lowering.hardware.linear.words import beats_to_words
from lutllm.lowering.machine.accelerator import AcceleratorConfig


def bus_ports(reads: dict[str, int], writes: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """(inputs, outputs) of a top module with AXI masters of these data bits by name."""
    inputs: dict[str, int] = {}
    outputs: dict[str, int] = {}
    for masters, kind in ((reads, READ_MASTER), (writes, WRITE_MASTER)):
        for name, bits in masters.items():
            inputs |= {_port(name, port): width for port, width in kind.inputs(bits).items()}
            outputs |= {_port(name, port): width for port, width in kind.outputs(bits).items()}
    return inputs, outputs


_OFFERS = ("arvalid", "awvalid", "wvalid")  # not in a reset


def _port(name: str, signal: str) -> str:
    return f"m_axi_{name}_{signal}"


def bounds(design: Design, bits: int) -> str:
    """Whether a command at a port of `bits` begins at one of its words and ends within `limit` bytes, seen when it is
    taken: `beats` of one that does not become 0, and `outside` is 1 until reset."""
    word = (bits // 8).bit_length() - 1

    def body(m: Module) -> dict[str, Signal]:
        end = m["address"].zext(65) + pack([const(0, word), m["beats"]]).zext(65)
        wrong = (m["limit"].zext(65).ult(end) | m["address"][0:word].ne(0)).named("wrong")
        outside = m.state(1, "outside_q", reset=0)
        outside.set(outside.signal | (m["taken"] & wrong))
        return dict(inside_beats=mux(wrong, const(0, BEATS_BITS), m["beats"]), outside=outside.signal)

    inputs = {"taken": 1, "address": 64, "beats": BEATS_BITS, "limit": 64}
    return design.module(f"bounds_{bits}", inputs, {"inside_beats": BEATS_BITS, "outside": 1}, body)


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


class Masters:
    """Instantiates masters in a top module `m`; `outputs` are their bus signals, `errors` those of the readers, `idle`
    those of all, `answers` what memory says in this cycle, `outside` whether one was asked for what is beyond `limit`,
    `torn` those of the writers, to be looked at when `stopped`.

    Addresses of commands are relative to `base`, and end at `limit` (64 bits each). With `hard` the bus stands still;
    `clear` makes the masters forget what it owes. Where the machine says that the bus has a clock of its own, it is
    the other one of `m`.
    """

    def __init__(
        self,
        m: Module,
        config: AcceleratorConfig,
        *,
        base: Signal,
        limit: Signal,
        hard: Signal,
        clear: Signal,
    ) -> None:
        self.m, self.config, self.base, self.limit, self.hard, self.clear = m, config, base, limit, hard, clear
        self.outputs: dict[str, Signal] = {}
        self.errors: list[Signal] = []
        self.idle: list[Signal] = []
        self.answers: list[Signal] = []
        self.outside: list[Signal] = []
        self.torn: list[Signal] = []
        self.stopped = hard & ~m.reg(hard, "hard_q")
        self.control: dict[str, Signal] = {}
        if config.clocks is not None:
            self.drained = Wire(1)
            control = m.instance(
                crossing_control(m.design),
                "crossing",
                clear=clear,
                hard=hard,
                m_drained=self.drained.signal,
            )
            self.stopped = control.pop("stopped")
            self.idle.append(control["open"])
            self.control = control
            self.left: list[Signal] = []

    def close(self) -> None:
        """Once all masters are there."""
        if self.control:
            self.drained.assign(all_of(self.left) if self.left else const(1, 1))

    def reader(self, name: str, bits: int, command: Stream, depth: int | None = None) -> Stream:
        """A read master; `command` is a stream of address (64) and beats (32). Returns its data stream."""
        ready = Wire(1)
        made = axi_read_stream(self.m.design, bits, depth=depth, **self._sizes(bits))
        out = self._instance(made, f"read_{name}", name, READ_MASTER, bits, command, data_ready=ready.signal)
        self.errors.append(out["error"])
        return Stream(out["data_valid"], out["data_data"], ready)

    def writer(
        self,
        name: str,
        bits: int,
        command: Stream,
        data: Stream,
        depth: int | None = None,
        responses: int | None = None,
    ) -> tuple[Signal, Signal]:
        """A write master of stream `data` with up to `responses` bursts without one; returns (`done`: a command's last
        response is in, error)."""
        sizes = self._sizes(bits) | ({} if responses is None else {"outstanding": responses})
        made = axi_write_stream(self.m.design, bits, depth=depth, **sizes)
        values = dict(data_valid=data.valid, data_data=data.data, hard=self.hard)
        out = self._instance(made, f"write_{name}", name, WRITE_MASTER, bits, command, sizes["outstanding"], **values)
        data.ready.assign(out["data_ready"])
        self.torn.append(out["torn"])
        return out["done"], out["error"]

    def _sizes(self, bits: int) -> dict[str, int]:
        return dict(burst_beats=self.config.burst_beats(bits), outstanding=self.config.engine.outstanding)

    def _instance(
        self,
        module: str,
        instance: str,
        name: str,
        kind: AxiMaster,
        bits: int,
        command: Stream,
        outstanding: int = 0,
        **inputs: Signal,
    ) -> dict[str, Signal]:
        m, wires = self.m, {port: Wire(width) for port, width in kind.inputs(bits).items()}
        bus = {port: wire.signal for port, wire in wires.items()}
        bus |= {port: bus[port] & ~self.hard for port in ("arready", "awready", "wready") if port in bus}
        address, taken = command.data[0:64], Wire(1)
        given = dict(taken=taken.signal, address=address, beats=command.data[64:96], limit=self.limit)
        checked = m.instance(bounds(m.design, bits), f"bounds_{name}", **given)
        inputs |= dict(command_address=address + self.base, command_beats=checked["inside_beats"], clear=self.clear)
        out = m.instance(module, instance, command_valid=command.valid, **inputs, **bus)
        command.ready.assign(out["command_ready"])
        taken.assign(command.valid & out["command_ready"])
        given = {port: out[port] & ~self.hard if port in _OFFERS else out[port] for port in kind.outputs(bits)}
        found = {port: m[_port(name, port)] for port in kind.inputs(bits)}
        if self.control:
            given, found, torn = self._crossed(name, kind, bits, given, found, outstanding)
            out |= {"torn": torn}
        self.outputs |= {_port(name, port): signal for port, signal in given.items()}
        for port, wire in wires.items():
            wire.assign(found[port])
        self.idle.append(out["idle"])
        self.answers.append(found["rvalid" if kind is READ_MASTER else "bvalid"])
        self.outside.append(checked["outside"])
        return out

    def _crossed(
        self,
        name: str,
        kind: AxiMaster,
        bits: int,
        given: dict[str, Signal],
        found: dict[str, Signal],
        outstanding: int,
    ) -> tuple[dict[str, Signal], dict[str, Signal], Signal]:
        """What a master gives and finds, at the clock of the bus and at its own."""
        m, bus, reads = self.m, self.config.bus_bits(bits), kind is READ_MASTER
        made = read_crossing(m.design, bits, bus) if reads else write_crossing(m.design, bits, bus, outstanding)
        ports = m.design.modules[made].inputs
        inputs = given | {f"m_{port}": signal for port, signal in found.items()}
        inputs |= self.control
        out = m.instance(made, f"crossing_{name}", **{port: inputs[port] for port in ports})
        torn = const(0, 1)
        if not reads:
            self.left.append(out["m_drained"])
            torn = m.synchronized(out["m_torn"], f"{name}_torn")
        given = {port: out[f"m_{port}"] for port in kind.outputs(bus)}
        return given, {port: out[port] for port in kind.inputs(bits)}, torn

    def words(self, name: str, beats: Stream, word_bits: int) -> Stream:
        """Beats joined to words of `word_bits`."""
        ready = Wire(1)
        made = beats_to_words(self.m.design, beats.data.width, word_bits)
        out = self.m.instance(made, f"words_{name}", in_valid=beats.valid, in_data=beats.data, out_ready=ready.signal)
        beats.ready.assign(out["in_ready"])
        return Stream(out["out_valid"], out["out_data"], ready)
