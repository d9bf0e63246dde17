"""The whole LutLinear engine: AXI masters, front end, chain of PSum engines, accumulator, requantizer, sequencer.

Ports: `clk`, `rst_n`; `start`, `program_address`, `program_length` -> `busy`, `done`, `error`; AXI4 read masters
m_axi_d (descriptors), m_axi_x (activations), m_axi_c (shifts and centroids), m_axi_q (requantizer parameters),
m_axi_w0.. (weights) and the write master m_axi_y (results). Every output comes from registers.
"""

from lutllm.lowering.axi import READ_MASTER, WRITE_MASTER, axi_read_stream, axi_write_stream
from lutllm.lowering.circt import Design, Fields, Module, Signal, Wire, all_of, any_of, const, delay, pack
from lutllm.lowering.engine import DESCRIPTOR_PORT_BITS, READ_STREAMS, EngineConfig
from lutllm.lowering.engine_hw import control as head_unit
from lutllm.lowering.engine_hw import front as front_unit
from lutllm.lowering.engine_hw import requantize as drain_unit
from lutllm.lowering.engine_hw import weights as weight_unit
from lutllm.lowering.engine_hw.accumulate import accumulator
from lutllm.lowering.engine_hw.psum import ROW_STAGE, accumulator_fields, control_fields, psum_engine
from lutllm.lowering.engine_hw.records import ROUND
from lutllm.lowering.engine_hw.sequencer import sequencer
from lutllm.lowering.engine_hw.words import beats_to_words, words_to_beats
from lutllm.lowering.memory import Stream, buffered

TOP = "lut_linear"
QUEUE = 2  # rounds a unit may have waiting


def weight_streams(config: EngineConfig) -> list[str]:
    return [f"w{i}" for i in range(config.weight_ports)]


def read_ports(config: EngineConfig) -> dict[str, int]:
    """Data bits of every AXI read master by name."""
    widths = {"d": DESCRIPTOR_PORT_BITS} | {name: config.port_bits[name] for name in READ_STREAMS}
    return widths | {name: config.port_bits["w"] for name in weight_streams(config)}


def lut_linear(design: Design, config: EngineConfig) -> str:
    """Add the engine's top module and everything under it; returns its name."""
    reads = read_ports(config)
    inputs = {"rst_n": 1, "start": 1, "program_address": 64, "program_length": 32}
    outputs = {"busy": 1, "done": 1, "error": 8}
    for name, bits in reads.items():
        inputs |= {f"m_axi_{name}_{port}": width for port, width in READ_MASTER.inputs(bits).items()}
        outputs |= {f"m_axi_{name}_{port}": width for port, width in READ_MASTER.outputs(bits).items()}
    y_bits = config.port_bits["y"]
    inputs |= {f"m_axi_y_{port}": width for port, width in WRITE_MASTER.inputs(y_bits).items()}
    outputs |= {f"m_axi_y_{port}": width for port, width in WRITE_MASTER.outputs(y_bits).items()}
    return design.module(TOP, inputs, outputs, lambda m: _Top(m, config, reads).outputs, reset=False)


class _Top:
    """Builds the top module's body; methods are its sections, `outputs` its output ports."""

    def __init__(self, m: Module, config: EngineConfig, reads: dict[str, int]) -> None:
        self.m, self.config, self.reads = m, config, reads
        m.rst = ~m["rst_n"]
        self.outputs: dict[str, Signal] = {}
        self.errors: list[Signal] = []
        self.dispatch = Wire(1)
        self.descriptor = Wire(config.descriptor_words * DESCRIPTOR_PORT_BITS)
        self.units_ready: list[Signal] = []
        self.flush = Wire(1)
        self.datapath_rst = m.rst | self.flush.signal
        self.words = self.descriptor.signal.chunks(DESCRIPTOR_PORT_BITS)

        names = [*READ_STREAMS, *weight_streams(config)]
        first = -(-ROUND.width // DESCRIPTOR_PORT_BITS)
        places = {name: first + 2 * i for i, name in enumerate(["x", "c", "q", "y", *weight_streams(config)])}
        streams = {name: self._reader(name, *self._command(name, places[name])) for name in names}
        words = {name: self._words(name, streams[name]) for name in READ_STREAMS}
        self._datapath(words, [streams[name] for name in weight_streams(config)], places["y"])
        self._sequencer()

    def _queue(self, name: str, data: Signal) -> Stream:
        """A unit's queue for what the sequencer dispatches."""
        stream, ready = buffered(self.m, name, self.dispatch.signal, data, QUEUE)
        self.units_ready.append(ready)
        return stream

    def _round(self, name: str, record: Fields) -> Stream:
        """A unit's queue of rounds: the fields of `record`."""
        fields = ROUND.unpack(self.descriptor.signal[0 : ROUND.width])
        return self._queue(f"{name}_rounds", record.pack(**{n: fields[n][0:w] for n, w in record.widths.items()}))

    def _command(self, name: str, place: int) -> tuple[Signal, Signal, Wire]:
        """(valid, address and beats, ready) of a stream's transfers."""
        stream = self._queue(f"{name}_commands", pack([self.words[place], self.words[place + 1][0:32]]))
        return stream.valid, stream.data, stream.ready

    def _reader(self, name: str, valid: Signal, command: Signal, ready: Wire) -> Stream:
        """An AXI read master; returns its data stream."""
        bits, config = self.reads[name], self.config
        made = axi_read_stream(self.m.design, bits, burst_beats=config.burst_beats, outstanding=config.outstanding)
        data_ready = Wire(1)
        bus = {port: self.m[f"m_axi_{name}_{port}"] for port in READ_MASTER.inputs(bits)}
        out = self.m.instance(
            made,
            f"read_{name}",
            command_valid=valid,
            command_address=command[0:64],
            command_beats=command[64:96],
            data_ready=data_ready.signal,
            **bus,
        )
        ready.assign(out["command_ready"])
        self.errors.append(out["error"])
        self.outputs |= {f"m_axi_{name}_{port}": out[port] for port in READ_MASTER.outputs(bits)}
        return Stream(out["data_valid"], out["data_data"], data_ready)

    def _words(self, name: str, beats: Stream) -> Stream:
        ready = Wire(1)
        made = beats_to_words(self.m.design, self.config.port_bits[name], self.config.word_bits[name])
        inputs = dict(in_valid=beats.valid, in_data=beats.data, out_ready=ready.signal)
        out = self.m.instance(made, f"words_{name}", **inputs)
        beats.ready.assign(out["in_ready"])
        return Stream(out["out_valid"], out["out_data"], ready)

    def _datapath(self, words: dict[str, Stream], weights: list[Stream], y_place: int) -> None:
        m, config, design = self.m, self.config, self.m.design
        bank_free, group_ready, acc_free = Wire(1), Wire(1), Wire(1)
        front = self._unit(
            front_unit.front_end(design, config),
            "front",
            front_unit.round_record(config),
            {"c": words["c"], "x": words["x"]},
            bank_free=bank_free.signal,
        )
        codes_push, rows_push = Wire(config.pairs), Wire(config.pairs)
        head_inputs = dict(codes_push=codes_push.signal, rows_push=rows_push.signal, group_ready=group_ready.signal)
        builds = config.builds_tables
        streams = {}
        if builds:
            head_inputs["centroids_ready"] = front["centroids_ready"]
            streams = {"build_round": self._round("build", head_unit.BUILD_ROUND)}
        head = self._unit(
            head_unit.psum_control(design, config),
            "head",
            head_unit.ROUND,
            streams,
            acc_free=acc_free.signal,
            **head_inputs,
        )
        group_ready.assign(front["group_ready"])
        control, sums, pushes = self._chain(front, head, weights)
        codes_push.assign(pack([push["codes_push"] for push in pushes]))
        rows_push.assign(pack([push["rows_push"] for push in pushes]))

        # The chain's control runs ROW_STAGE cycles ahead of its sums; the accumulator wants to be one ahead.
        beat = control_fields(config).unpack(control)
        late = control_fields(config).subset(*accumulator_fields(config).widths, "group_last")
        control = late.pack(**{name: beat[name] for name in late.widths})
        beat = late.unpack(delay(m, control, ROW_STAGE - 1, "control_late", reset=0))
        bank_free.assign(m.reg(beat["valid"] & beat["group_last"], "bank_free", reset=0))
        made = accumulator(design, config)
        drain = {name: Wire(width) for name, width in design.modules[made].inputs.items() if name.startswith("drain")}
        inputs = {name: wire.signal for name, wire in drain.items()}
        wanted = accumulator_fields(config)
        inputs["control"] = wanted.pack(**{name: beat[name] for name in wanted.widths})
        acc = m.instance(made, "accumulator", rst=self.datapath_rst, sums=sums, **inputs)
        y_ready = Wire(1)
        out = self._unit(
            drain_unit.requantizer(design, config),
            "requantizer",
            drain_unit.ROUND,
            {"q": words["q"]},
            round_done=acc["round_done"],
            drained=acc["drained"],
            y_ready=y_ready.signal,
        )
        for name, wire in drain.items():
            wire.assign(out[name])
        acc_free.assign(out["acc_free"])
        self._writer(Stream(out["y_valid"], out["y_data"], y_ready), y_place)

    def _unit(
        self, module: str, name: str, record: Fields, streams: dict[str, Stream], **inputs: Signal
    ) -> dict[str, Signal]:
        """An instance with a queue of rounds and the given input streams."""
        streams = {"round": self._round(name, record), **streams}
        for prefix, stream in streams.items():
            inputs |= {f"{prefix}_valid": stream.valid, f"{prefix}_data": stream.data}
        inputs = {port: signal for port, signal in inputs.items() if port in self.m.design.modules[module].inputs}
        out = self.m.instance(module, name, rst=self.datapath_rst, **inputs)
        for prefix, stream in streams.items():
            stream.ready.assign(out[f"{prefix}_ready"])
        return out

    def _chain(
        self, front: dict[str, Signal], head: dict[str, Signal], weights: list[Stream]
    ) -> tuple[Signal, Signal, list[dict[str, Signal]]]:
        """The PSum engines and the weight ports' distributors; returns (last control, sums, each engine's outputs)."""
        m, config = self.m, self.config
        made = psum_engine(m.design, config)
        control, build = head["control"], head.get("build")
        sums = const(0, config.lanes * config.psum_bits)
        engines, units, ready_wires = [], [], []
        for port, stream in enumerate(weights):
            all_ready = Wire(1)
            feed = self._unit(
                weight_unit.weight_distributor(m.design, config),
                f"distribute_{port}",
                weight_unit.ROUND,
                {"w": stream},
                all_ready=all_ready.signal,
            )
            units += [(feed, unit) for unit in stream.data.chunks(config.unit_bits)]
            ready_wires.append(all_ready)
        share = config.act_stages * config.chains * 2 * config.operand_bits
        operand = config.act_stages * config.operand_width
        for i, (feed, unit) in enumerate(units):
            inputs = dict(control=control, partial=sums, unit_fire=feed["fire"], unit_kind=feed["kind"])
            inputs |= dict(unit_last=feed["last"], unit_data=unit, operand_write=front["operand_write"])
            inputs["operand_address"] = front["operand_address"]
            inputs["operand_data"] = front["operand_data"][i * operand : (i + 1) * operand]
            inputs |= dict(shift_write=front["shift_write"], shift_bank=front["shift_bank"])
            shifts = front_unit.shift_bits(config)
            inputs["shift_data"] = front["shift_data"][i * shifts : (i + 1) * shifts]
            if build is not None:
                inputs |= dict(build=build, centroid_write=front["centroid_write"])
                inputs["centroid_address"] = front["centroid_address"]
                inputs["centroid_data"] = front["centroid_data"][i * share : (i + 1) * share]
            out = m.instance(made, f"psum_{i}", rst=self.datapath_rst, **inputs)
            control, sums, build = out["control_out"], out["sums"], out.get("build_out")
            engines.append(out)
        per_port = config.engines_per_port
        for port, wire in enumerate(ready_wires):
            mine = engines[port * per_port : (port + 1) * per_port]
            wire.assign(all_of([engine["unit_ready"] for engine in mine]))
        return control, sums, engines

    def _writer(self, words: Stream, place: int) -> None:
        m, config = self.m, self.config
        bits = config.port_bits["y"]
        data_ready = Wire(1)
        made = words_to_beats(m.design, config.word_bits["y"], bits)
        beats = m.instance(made, "beats_y", in_valid=words.valid, in_data=words.data, out_ready=data_ready.signal)
        words.ready.assign(beats["in_ready"])
        valid, command, ready = self._command("y", place)
        bus = {port: m[f"m_axi_y_{port}"] for port in WRITE_MASTER.inputs(bits)}
        out = m.instance(
            axi_write_stream(m.design, bits, burst_beats=config.burst_beats, outstanding=config.outstanding),
            "write_y",
            command_valid=valid,
            command_address=command[0:64],
            command_beats=command[64:96],
            data_valid=beats["out_valid"],
            data_data=beats["out_data"],
            **bus,
        )
        ready.assign(out["command_ready"])
        data_ready.assign(out["data_ready"])
        self.written, self.write_error = out["done"], out["error"]
        self.outputs |= {f"m_axi_y_{port}": out[port] for port in WRITE_MASTER.outputs(bits)}

    def _sequencer(self) -> None:
        m = self.m
        command_valid, command, command_ready = Wire(1), Wire(96), Wire(1)
        d = self._reader("d", command_valid.signal, command.signal, command_ready)
        host = {name: m[name] for name in ("start", "program_address", "program_length")}
        out = m.instance(
            sequencer(m.design, self.config),
            "sequencer",
            **host,
            command_ready=command_ready.signal,
            d_valid=d.valid,
            d_data=d.data,
            all_ready=all_of(self.units_ready),
            written=self.written,
            read_error=any_of(self.errors),
            write_error=self.write_error,
        )
        command_valid.assign(out["command_valid"])
        command.assign(pack([out["command_address"], out["command_beats"]]))
        d.ready.assign(out["d_ready"])
        self.dispatch.assign(out["dispatch"])
        self.descriptor.assign(out["descriptor"])
        self.flush.assign(out["flush"])
        self.outputs |= {name: out[name] for name in ("busy", "done", "error")}
