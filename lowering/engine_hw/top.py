"""The LutLinear engine alone between AXI masters and a sequencer: linears from memory to memory.

Ports: `clk`, `rst_n`; `start`, `program_address`, `program_length` -> `busy`, `done`, `error`; AXI4 read masters
m_axi_d (descriptors), m_axi_x (activations), m_axi_c (shifts and centroids), m_axi_q (requantizer parameters),
m_axi_w0.. (weights) and the write master m_axi_y (results). Every output comes from registers.
"""

from lutllm.lowering.circt import Design, Module, Signal, Wire, all_of, any_of, pack
from lutllm.lowering.engine import DESCRIPTOR_PORT_BITS, QUEUE, READ_STREAMS, EngineConfig
from lutllm.lowering.engine_hw.core import linear_core, weight_streams
from lutllm.lowering.engine_hw.ports import Masters, bus_ports
from lutllm.lowering.engine_hw.records import ROUND
from lutllm.lowering.engine_hw.sequencer import sequencer
from lutllm.lowering.memory import Stream, buffered

TOP = "lut_linear"


def read_ports(config: EngineConfig) -> dict[str, int]:
    """Data bits of every AXI read master by name."""
    widths = {"d": DESCRIPTOR_PORT_BITS} | {name: config.port_bits[name] for name in READ_STREAMS}
    return widths | {name: config.port_bits["w"] for name in weight_streams(config)}


def lut_linear(design: Design, config: EngineConfig) -> str:
    """Add the engine's top module and everything under it; returns its name."""
    inputs, outputs = bus_ports(read_ports(config), {"y": config.port_bits["y"]})
    inputs = {"rst_n": 1, "start": 1, "program_address": 64, "program_length": 32} | inputs
    outputs = {"busy": 1, "done": 1, "error": 8} | outputs
    return design.module(TOP, inputs, outputs, lambda m: _Top(m, config).outputs, reset=False)


class _Top:
    """Builds the top module's body; `outputs` are its output ports."""

    def __init__(self, m: Module, config: EngineConfig) -> None:
        self.m, self.config = m, config
        m.rst = ~m["rst_n"]
        self.masters = Masters(m, burst_beats=config.burst_beats, outstanding=config.outstanding)
        self.dispatch = Wire(1)
        self.descriptor = Wire(config.descriptor_words * DESCRIPTOR_PORT_BITS)
        self.ready: list[Signal] = []
        self.outputs = self._sequencer(*self._engine())
        self.outputs |= self.masters.outputs

    def _command(self, name: str) -> Stream:
        """The queue of a stream's transfers, as descriptors bring them."""
        order = ["x", "c", "q", "y", *weight_streams(self.config)]
        place = -(-ROUND.width // DESCRIPTOR_PORT_BITS) + 2 * order.index(name)
        words = self.descriptor.signal.chunks(DESCRIPTOR_PORT_BITS)
        data = pack([words[place], words[place + 1][0:32]])
        stream, ready = buffered(self.m, f"{name}_commands", self.dispatch.signal, data, QUEUE)
        self.ready.append(ready)
        return stream

    def _engine(self) -> tuple[Signal, Signal, Wire]:
        """Readers, core and writer; returns (results written, write error, flush)."""
        m, config, flush = self.m, self.config, Wire(1)
        streams = {}
        for name in (*READ_STREAMS, *weight_streams(config)):
            beats = self.masters.reader(name, read_ports(config)[name], self._command(name))
            streams[name] = self.masters.words(name, beats, config.word_bits[name]) if name in READ_STREAMS else beats
        inputs = {f"{name}_valid": stream.valid for name, stream in streams.items()}
        inputs |= {f"{name}_data": stream.data for name, stream in streams.items()}
        y_ready = Wire(1)
        out = m.instance(
            linear_core(m.design, config),
            "core",
            dispatch=self.dispatch.signal,
            round=self.descriptor.signal[0 : ROUND.width],
            flush=flush.signal,
            y_ready=y_ready.signal,
            **inputs,
        )
        for name, stream in streams.items():
            stream.ready.assign(out[f"{name}_ready"])
        self.ready.append(out["round_ready"])
        beats = self.masters.beats("y", Stream(out["y_valid"], out["y_data"], y_ready), config.port_bits["y"])
        return *self.masters.writer("y", config.port_bits["y"], self._command("y"), beats), flush

    def _sequencer(self, written: Signal, write_error: Signal, flush: Wire) -> dict[str, Signal]:
        m = self.m
        valid, data, ready = Wire(1), Wire(96), Wire(1)
        d = self.masters.reader("d", DESCRIPTOR_PORT_BITS, Stream(valid.signal, data.signal, ready))
        host = {name: m[name] for name in ("start", "program_address", "program_length")}
        out = m.instance(
            sequencer(m.design, self.config),
            "sequencer",
            **host,
            command_ready=ready.signal,
            d_valid=d.valid,
            d_data=d.data,
            all_ready=all_of(self.ready),
            written=written,
            read_error=any_of(self.masters.errors),
            write_error=write_error,
        )
        valid.assign(out["command_valid"])
        data.assign(pack([out["command_address"], out["command_beats"]]))
        d.ready.assign(out["d_ready"])
        self.dispatch.assign(out["dispatch"])
        self.descriptor.assign(out["descriptor"])
        flush.assign(out["flush"])
        return {name: out[name] for name in ("busy", "done", "error")}
