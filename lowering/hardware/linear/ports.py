"""The AXI masters of a top module: readers and writers with a queue of commands, their bus signals as its ports."""

from __future__ import annotations

from lutllm.lowering.hardware.lib.axi import READ_MASTER, WRITE_MASTER, AxiMaster, axi_read_stream, axi_write_stream
from lutllm.lowering.hardware.lib.circt import Module, Signal, Wire
from lutllm.lowering.hardware.lib.memory import Stream
from lutllm.lowering.hardware.linear.words import beats_to_words


def bus_ports(reads: dict[str, int], writes: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """(inputs, outputs) of a top module with AXI masters of these data bits by name."""
    inputs: dict[str, int] = {}
    outputs: dict[str, int] = {}
    for masters, kind in ((reads, READ_MASTER), (writes, WRITE_MASTER)):
        for name, bits in masters.items():
            inputs |= {_port(name, port): width for port, width in kind.inputs(bits).items()}
            outputs |= {_port(name, port): width for port, width in kind.outputs(bits).items()}
    return inputs, outputs


def _port(name: str, signal: str) -> str:
    return f"m_axi_{name}_{signal}"


class Masters:
    """Instantiates masters in a top module `m`; `outputs` are their bus signals, `errors` those of the readers.
    Addresses of commands are relative to `base` (64 bits)."""

    def __init__(self, m: Module, *, burst_beats: int, outstanding: int, base: Signal) -> None:
        self.m, self.base = m, base
        self.sizes = dict(burst_beats=burst_beats, outstanding=outstanding)
        self.outputs: dict[str, Signal] = {}
        self.errors: list[Signal] = []

    def reader(self, name: str, bits: int, command: Stream, depth: int | None = None) -> Stream:
        """A read master; `command` is a stream of address (64) and beats (32). Returns its data stream."""
        ready = Wire(1)
        made = axi_read_stream(self.m.design, bits, depth=depth, **self.sizes)
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
        sizes = self.sizes if responses is None else self.sizes | {"outstanding": responses}
        made = axi_write_stream(self.m.design, bits, depth=depth, **sizes)
        values = dict(data_valid=data.valid, data_data=data.data)
        out = self._instance(made, f"write_{name}", name, WRITE_MASTER, bits, command, **values)
        data.ready.assign(out["data_ready"])
        return out["done"], out["error"]

    def _instance(
        self, module: str, instance: str, name: str, kind: AxiMaster, bits: int, command: Stream, **inputs: Signal
    ) -> dict[str, Signal]:
        bus = {port: self.m[_port(name, port)] for port in kind.inputs(bits)}
        parts = dict(command_address=command.data[0:64] + self.base, command_beats=command.data[64:96])
        out = self.m.instance(module, instance, command_valid=command.valid, **parts, **bus, **inputs)
        command.ready.assign(out["command_ready"])
        self.outputs |= {_port(name, port): out[port] for port in kind.outputs(bits)}
        return out

    def words(self, name: str, beats: Stream, word_bits: int) -> Stream:
        """Beats joined to words of `word_bits`."""
        ready = Wire(1)
        made = beats_to_words(self.m.design, beats.data.width, word_bits)
        out = self.m.instance(made, f"words_{name}", in_valid=beats.valid, in_data=beats.data, out_ready=ready.signal)
        beats.ready.assign(out["in_ready"])
        return Stream(out["out_valid"], out["out_data"], ready)
