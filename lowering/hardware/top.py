"""The whole accelerator: registers, sequencer, LutLinear and the engines around it, on-chip memories, AXI masters.

What an engine that the configuration does not have would use - memories, masters, streams - is not there either.

Ports: `ap_clk`, `ap_rst_n`, where the machine has two clocks also `ap_clk_2`, that of all AXI4 masters; the AXI4-Lite
slave s_axi_control and its interrupt `irq` (`interrupt` is a word of C++ to Verilator); AXI4 read masters m_axi_d
(tasks), _p (vector parameters), _c, _q, _w0.. (of LutLinear), _e (embedding), _k0.. and _v0.. (KV cache), _x (engine
load), the write masters m_axi_kv and m_axi_y (engine save); `events`, a bit for each engine that takes a task and one
for each that ends one, for simulation.
"""

from __future__ import annotations

from lutllm.lowering.hardware.attention.attention import attention
from lutllm.lowering.hardware.control.axi_lite import slave_inputs, slave_outputs
from lutllm.lowering.hardware.control.halt import halt
from lutllm.lowering.hardware.control.records import task_record
from lutllm.lowering.hardware.control.register_map import address_bits
from lutllm.lowering.hardware.control.registers import PREFIX, registers
from lutllm.lowering.hardware.control.sequencer import PAGE_BITS, sequencer
from lutllm.lowering.hardware.control.watch import watch
from lutllm.lowering.hardware.lib.axi import burst_limit
from lutllm.lowering.hardware.lib.checks import region_check
from lutllm.lowering.hardware.lib.circt import Design, Fields, Module, Signal, Wire, all_of, any_of, const, mux, pack
from lutllm.lowering.hardware.lib.memory import Stream, buffered, ram
from lutllm.lowering.hardware.lib.route import ORDERS, router, way_of
from lutllm.lowering.hardware.linear.core import linear_core
from lutllm.lowering.hardware.linear.ports import Masters, bus_ports, spread
from lutllm.lowering.hardware.linear.records import ROUND
from lutllm.lowering.hardware.vector.embed import embed
from lutllm.lowering.hardware.vector.feed import feed
from lutllm.lowering.hardware.vector.heads import heads
from lutllm.lowering.hardware.vector.load import load
from lutllm.lowering.hardware.vector.norm import norm
from lutllm.lowering.hardware.vector.pick import pick
from lutllm.lowering.hardware.vector.residual import residual
from lutllm.lowering.hardware.vector.save import save
from lutllm.lowering.hardware.vector.store import store
from lutllm.lowering.hardware.vector.swiglu import swiglu
from lutllm.lowering.machine.accelerator import (
    DYNAMIC_BITS,
    LINEAR_STREAMS,
    PARAMETERIZED,
    READERS,
    SINKS,
    STREAM_BITS,
    STREAM_WORDS,
    TASK_BITS,
    VERIFY,
    WRITERS,
    AcceleratorConfig,
)
from lutllm.lowering.machine.engine import DESCRIPTOR_PORT_BITS, QUEUE, ROUNDS_AHEAD

TOP = "lut_accelerator"
BUS_CLOCK = "ap_clk_2"  # of the AXI4 masters, where memory has a clock of its own
COMMANDS = 4  # transfers of stream p that may wait, where nothing else is asked for
BUILDERS = {
    "feed": feed, "norm": norm, "residual": residual, "store": store, "swiglu": swiglu,
    "heads": heads, "attention": attention, "embed": embed, "pick": pick, "load": load, "save": save,
}  # fmt: skip


def fifo_depth(config: AcceleratorConfig, name: str) -> int:
    """Words of a FIFO at a master, or of commands and orders: what the configuration says, or as usual."""
    engine, (kind, _, port) = config.engine, name.partition("_")
    usual = {"p_commands": COMMANDS, "p_orders": ORDERS, "y_orders": ORDERS}
    usual |= {"responses": engine.outstanding, "y_responses": engine.outstanding}
    if kind in ("read", "write"):
        names = {name: f"{name}0" for name in "wkv"}
        bits = (config.read_ports if kind == "read" else config.write_ports)[names.get(port, port)]
        bursts = engine.outstanding if kind == "read" else 2
        usual[name] = bursts * burst_limit(bits, config.burst_beats(bits))
    return config.depths.get(name, usual[name])


def lut_accelerator(design: Design, config: AcceleratorConfig) -> str:
    """Add the top module and everything under it; returns its name."""
    buses = ({n: config.bus_bits(b) for n, b in ports.items()} for ports in (config.read_ports, config.write_ports))
    inputs, outputs = bus_ports(*buses)
    slave = {f"{PREFIX}{name}": bits for name, bits in slave_inputs(address_bits(config)).items()}
    inputs = {"ap_rst_n": 1} | slave | inputs
    outputs = slave_outputs(PREFIX) | {"irq": 1, "events": 2 * len(config.engines)} | outputs
    clock = None if config.clocks is None else BUS_CLOCK
    return design.module(TOP, inputs, outputs, lambda m: _Top(m, config).outputs, reset=False, top=True, clock=clock)


class _Top:
    """Builds the top module's body; methods are its sections, `outputs` its output ports.

    Engines are instantiated one after the other while their inputs still are wires: `wires` holds them by engine and
    port, and `_connect` drives each from what the others give.
    """

    def __init__(self, m: Module, config: AcceleratorConfig) -> None:
        self.m, self.config = m, config
        self.hard = ~m["ap_rst_n"]
        self.halt, self.halt_inputs = self._instance(halt(m.design), "halting", hard=self.hard)
        m.rst = self.halt["reset"]
        self.image, limit = Wire(64), Wire(64)
        self.masters = Masters(
            m, config, base=self.image.signal, limit=limit.signal, hard=self.hard, clear=self.halt["clear"],
        )  # fmt: skip
        self.sequencer, self.sequencer_inputs = self._instance(
            sequencer(m.design, config), "sequencer", hard=self.hard, over=self.halt["over"], torn=self.halt["torn"]
        )
        limit.assign(self.sequencer["limit"])
        self.verifies = Wire(1)
        self.checks: list[dict[str, Signal]] = []
        self.fields = self.sequencer["fields"]
        self.dispatch = dict(zip(config.engines, self.sequencer["dispatch"].chunks(1), strict=True))
        self.ready: dict[str, Signal] = {}
        self.done: dict[str, Signal] = {}
        self.engines: dict[str, dict[str, Signal]] = {}
        self.inputs: dict[str, dict[str, Wire]] = {}
        self.write_errors: list[Signal] = []
        for name in config.having(tuple(BUILDERS)):
            self._engine(name, BUILDERS[name](m.design, config))
        self._memories()
        self._parameters()
        self._linear()
        if "heads" in self.engines:  # and attention, which alone reads what it makes
            self._caches()
        if "residual" in self.engines:
            self._embedding()
        self._transfers()
        self._host()
        self._events()

    def _instance(self, module: str, name: str, **given: Signal) -> tuple[dict[str, Signal], dict[str, Wire]]:
        """An instance whose inputs, but for those given, are wires to drive later."""
        ports = self.m.design.modules[module].inputs
        wires = {port: Wire(width) for port, width in ports.items() if port not in given}
        signals = {port: wire.signal for port, wire in wires.items()}
        return self.m.instance(module, name, **signals, **given), wires

    def _engine(self, name: str, module: str) -> None:
        """An engine with its queue of tasks."""
        stream, room = buffered(self.m, f"{name}_tasks", self.dispatch[name], self._task(name), QUEUE)
        out, wires = self._instance(module, name, task_valid=stream.valid, task_data=stream.data)
        stream.ready.assign(out["task_ready"])
        self.engines[name], self.inputs[name] = out, wires
        self.ready[name], self.done[name] = room, out["done"]

    def _task(self, name: str) -> Signal:
        """The held descriptor as a task of `name`."""
        bits = TASK_BITS[name]
        found = Fields(**bits).unpack(self.fields[0 : sum(bits.values())])
        dynamic = dict(tokens=self.sequencer["task_tokens"], position=self.sequencer["pass_position"])
        record = task_record(name)
        assert set(dynamic) == set(DYNAMIC_BITS)
        values = found | dynamic
        return record.pack(**{field: values[field] for field in record.widths})

    def _memories(self) -> None:
        """The on-chip memories, their ports shared by those who take turns."""
        m, config = self.m, self.config
        for memory in WRITERS:
            writers, readers = config.having(WRITERS[memory]), config.having(READERS[memory])
            if not writers:
                continue
            depth = {"r": config.r_words, "x": config.x_words, "y": config.y_words, "q": config.q_words}[memory]
            made = ram(m.design, depth, config.word_bits(memory))
            write, address, data = self._shared(memory, "write", writers)
            if memory == "x":
                self.inputs["feed"].pop("written").assign(write)
            copies = range(config.attention_cores) if memory == "q" else ("",)  # who reads one has one
            for port in (f"{memory}{copy}" for copy in copies):
                read, read_address, _ = self._shared(port, "read", readers)
                found = m.output_of(made, f"memory_{port}", we=write, wa=address, wd=data, re=read, ra=read_address)
                for reader in readers:
                    self.inputs[reader].pop(f"{port}_read_data").assign(found)
        if "residual" in self.engines:
            self._squares()

    def _squares(self) -> None:
        """Sums of squares, which residual keeps and norm reads."""
        address = const(0, self.config.token_bits)
        if "norm" in self.engines:
            squares = self.engines["residual"]["squares_read_data"]
            self.inputs["norm"].pop("squares_read_data").assign(squares)
            address = self.engines["norm"]["squares_read_address"]
        self.inputs["residual"].pop("squares_read_address").assign(address)

    def _shared(self, memory: str, way: str, users: tuple[str, ...]) -> tuple[Signal, Signal, Signal]:
        """(enable, address, data) of whoever uses this port."""
        port = f"{memory}_{way}"
        first = self.engines[users[0]]
        enable, address = first[port], first[f"{port}_address"]
        data = first.get(f"{port}_data", address)
        for user in users[1:]:
            out = self.engines[user]
            address = mux(out[port], out[f"{port}_address"], address)
            data = mux(out[port], out[f"{port}_data"], data) if way == "write" else data
            enable = enable | out[port]
        return enable, address, data

    def _parameters(self) -> None:
        """Stream p: one reader, its words to the engines in the order of their tasks."""
        m, sequencer_ = self.m, self.sequencer
        takers = self.config.having(PARAMETERIZED)
        if not takers:  # what asks for parameters nevertheless stands still
            self.sequencer_inputs.pop("parameters_ready").assign(const(0, 1))
            return
        command = pack([sequencer_["parameters_address"], sequencer_["parameters_beats"]])
        config = self.config
        queue, room = buffered(m, "p_commands", sequencer_["parameters"], command, fifo_depth(config, "p_commands"))
        stream = self._reader("p", self.config.p_bits, queue)
        made = router(m.design, "route_p", takers, fifo_depth(config, "p_orders"))
        ready = {f"{name}_ready": self.engines[name]["p_ready"] for name in takers}
        out = m.instance(
            made,
            "route_p",
            push=sequencer_["parameters"],
            way=way_of([self.dispatch[name] for name in takers]),
            count=sequencer_["parameters_beats"],
            in_valid=stream.valid,
            **ready,
        )
        stream.ready.assign(out["in_ready"])
        for name in takers:
            self.inputs[name].pop("p_valid").assign(out[f"{name}_valid"])
            self.inputs[name].pop("p_data").assign(stream.data)
        self.sequencer_inputs.pop("parameters_ready").assign(room & out["room"])

    def _linear(self) -> None:
        """LutLinear between feed and the sinks of stream y."""
        m, engine = self.m, self.config.engine
        bits = TASK_BITS["linear"]
        values = Fields(**bits).unpack(self.fields[0 : sum(bits.values())]) | {"tokens": self.sequencer["task_tokens"]}
        round_ = ROUND.pack(**{name: values[name][0:width] for name, width in ROUND.widths.items()})
        streams = self._linear_streams()
        feed_ready = self.inputs["feed"].pop("out_ready")
        streams["x"] = Stream(self.engines["feed"]["out_valid"], self.engines["feed"]["out_data"], feed_ready)
        inputs = {f"{name}_valid": stream.valid for name, stream in streams.items()}
        inputs |= {f"{name}_data": stream.data for name, stream in streams.items()}
        y_ready = Wire(1)
        core = m.instance(
            linear_core(m.design, engine, self.config.depths),
            "linear",
            dispatch=self.dispatch["linear"],
            round=round_,
            flush=self.sequencer["flush"],
            y_ready=y_ready.signal,
            **inputs,
        )
        for name, stream in streams.items():
            stream.ready.assign(core[f"{name}_ready"])
        rooms = [core["round_ready"], *self.linear_rooms]
        self.ready["linear"] = all_of(rooms)
        self._sinks(core, y_ready)

    linear_rooms: tuple[Signal, ...] = ()

    def _linear_streams(self) -> dict[str, Stream]:
        """Streams c, q and w of LutLinear: their transfers come with the task."""
        config, found = self.config, {}
        words = self.fields.chunks(DESCRIPTOR_PORT_BITS)
        place = -(-sum(TASK_BITS["linear"].values()) // DESCRIPTOR_PORT_BITS)
        for number, kind in enumerate(LINEAR_STREAMS):
            first = place + STREAM_WORDS * number
            asked = Fields(**STREAM_BITS).unpack(pack(words[first : first + STREAM_WORDS]))
            names = config.engine.weight_streams if kind == "w" else [kind]
            push, addresses, beats = spread(self.m, self.dispatch["linear"], asked, len(names))
            for name, address in zip(names, addresses, strict=True):
                queue, room = buffered(self.m, f"{name}_commands", push, pack([address, beats]), ROUNDS_AHEAD)
                self.linear_rooms = (*self.linear_rooms, room)
                found[name] = self._reader(name, config.read_ports[name], queue)
                if kind != "w":
                    found[name] = self.masters.words(name, found[name], config.engine.word_bits[kind])
        return found

    def _sinks(self, core: dict[str, Signal], y_ready: Wire) -> None:
        """Stream y to the engine whose task is next."""
        m, config = self.m, self.config
        sinks = config.having(SINKS)
        # The held descriptor stands still for some cycles before it goes out: the product may take one of them.
        products = {name: self._words_of_pass(name) for name in sinks}
        count = products[sinks[0]]
        for name in sinks[1:]:
            count = mux(self.dispatch[name], products[name], count)
        pushes = [self.dispatch[name] for name in sinks if name != "residual"]
        push = any_of(pushes) if pushes else const(0, 1)
        if "residual" in sinks:
            push = push | (self.dispatch["residual"] & ~self._field("residual", "load")[0])
        out = m.instance(
            router(m.design, "route_y", sinks, fifo_depth(config, "y_orders")),
            "route_y",
            push=push,
            way=way_of([self.dispatch[name] for name in sinks]),
            count=count,
            in_valid=core["y_valid"],
            **{f"{name}_ready": self.engines[name]["y_ready"] for name in sinks},
        )
        y_ready.assign(out["in_ready"])
        for name in sinks:
            self.inputs[name].pop("y_valid").assign(out[f"{name}_valid"])
            self.inputs[name].pop("y_data").assign(core["y_data"])
            self.ready[name] = self.ready[name] & out["room"]
        self.done["linear"] = out["finished"]
        self.sequencer_inputs.pop("y_idle").assign(out["idle"] & ~core["y_valid"])

    def _field(self, engine: str, name: str) -> Signal:
        bits = TASK_BITS[engine]
        return Fields(**bits).unpack(self.fields[0 : sum(bits.values())])[name]

    def _words_of_pass(self, engine: str) -> Signal:
        words = self._field(engine, "words").zext(32) * self.sequencer["task_tokens"].zext(32)
        return self.m.reg(words, f"{engine}_words_of_pass")

    def _caches(self) -> None:
        """The KV cache: units of attention read it through masters of their own, heads writes it through one."""
        for number in range(self.config.attention_units * self.config.attention_ports):
            for name in (f"k{number}", f"v{number}"):
                self._read("attention", name, command=f"{name}_command", data=name, bits=self.config.part_bits)
        self._write("heads", "kv", command="kv_command", data="kv", written="kv_written", responses="responses")

    def _transfers(self) -> None:
        """Rows from external memory and to it."""
        if "load" in self.engines:
            self._read("load", "x", command="command", data="in")
        if "save" in self.engines:
            self._write("save", "y", command="command", data="out", written="written", responses="y_responses")

    def _read(self, engine: str, master: str, *, command: str, data: str, bits: int = 0) -> None:
        """A read master whose commands an engine gives and whose beats it takes, joined to words of `bits`."""
        out, wires, width = self.engines[engine], self.inputs[engine], self.config.read_ports[master]
        stream = self._reader(master, width, self._command(engine, command))
        if bits > width:
            stream = self.masters.words(master, stream, bits)
        wires.pop(f"{data}_valid").assign(stream.valid)
        wires.pop(f"{data}_data").assign(stream.data)
        stream.ready.assign(out[f"{data}_ready"])

    def _write(self, engine: str, master: str, *, command: str, data: str, written: str, responses: str) -> None:
        """A write master of an engine's commands and words; `written` tells the engine of the end of each command."""
        out, wires = self.engines[engine], self.inputs[engine]
        words = Stream(out[f"{data}_valid"], out[f"{data}_data"], wires.pop(f"{data}_ready"))
        sizes = dict(depth=fifo_depth(self.config, f"write_{master}"), responses=fifo_depth(self.config, responses))
        bits = self.config.write_ports[master]
        there, error = self.masters.writer(master, bits, self._command(engine, command), words, **sizes)
        self.write_errors.append(error)
        wires.pop(written).assign(there)

    def _reader(self, name: str, bits: int, command: Stream) -> Stream:
        """A read master whose FIFO is as deep as the configuration says. In a run that verifies, what it reads is
        checked and goes no further; the lists come through port d even then."""
        depth = fifo_depth(self.config, f"read_{name[0]}")
        if name == "d":
            return self.masters.reader(name, bits, command, depth)
        verifies, ready = self.verifies.signal, Wire(1)
        task = {field: self._field(VERIFY, field) for field in ("port", "beats", "address", "signature")}
        mine = task["port"].eq(list(self.config.read_ports).index(name)).named(f"verify_by_{name}")
        start = self.sequencer["verify"] & mine
        region = pack([task["address"], task["beats"]])
        asked = Stream(command.valid | start, mux(verifies, region, command.data), ready)
        beats = self.masters.reader(name, bits, asked, depth)
        command.ready.assign(ready.signal)
        check = self.m.instance(
            region_check(self.m.design, bits), f"check_{name}", start=start, beats=task["beats"],
            signature=task["signature"], moved=beats.valid & verifies, data=beats.data,
        )  # fmt: skip
        self.checks.append(check | dict(ready=all_of([mine, ready.signal, ~check["checking"]])))
        taken = Wire(1)
        beats.ready.assign(taken.signal | verifies)
        return Stream(beats.valid & ~verifies, beats.data, taken)

    def _command(self, engine: str, prefix: str) -> Stream:
        """The transfers an engine asks for itself."""
        out = self.engines[engine]
        data = pack([out[f"{prefix}_address"], out[f"{prefix}_beats"]])
        return Stream(out[f"{prefix}_valid"], data, self.inputs[engine].pop(f"{prefix}_ready"))

    def _embedding(self) -> None:
        """Rows of the embedding, and stream e from them."""
        for port in ("e_valid", "e_data"):
            self.inputs["residual"].pop(port).assign(self._embed()[port])
        if "embed" in self.engines:
            self._read("embed", "e", command="command", data="row")
            self.inputs["embed"].pop("e_ready").assign(self.engines["residual"]["e_ready"])

    def _host(self) -> None:
        """Registers and sequencer; the descriptors' master; the watchdog."""
        m, config, s = self.m, self.config, self.sequencer
        data = pack([s["d_command_address"], s["d_command_beats"]])
        command = Stream(s["d_command_valid"], data, self.sequencer_inputs.pop("d_command_ready"))
        d = self._reader("d", DESCRIPTOR_PORT_BITS, command)
        d.ready.assign(s["d_ready"])
        self.masters.close()
        busy, idle = s["busy"], all_of(self.masters.idle).named("bus_idle")
        watched = self._watched(busy)
        slave = {port: m[port] for port in m.inputs if port.startswith(PREFIX)}
        host = m.instance(
            registers(m.design, config),
            "registers",
            **slave,
            rst=self.hard,
            busy=busy,
            quiet=idle & ~self.halt["draining"],
            done=s["finished"],
            error=s["error"],
            made=s["made"],
            last=s["last"],
            cycles=s["cycles"],
            watchdog=watched["watchdog"],
            stalled=watched["stalled"],
            **self._sequence(),
        )
        self.start.assign(host["start"])
        self.image.assign(host["image"])
        self.verifies.assign(host["verifies"])
        writing = any_of(self.masters.torn) if self.masters.torn else const(0, 1)
        halts = dict(halt=s["halt"], idle=idle, moved=self.answered, writing=writing, stopped=self.masters.stopped)
        for name, signal in halts.items():
            self.halt_inputs.pop(name).assign(signal)
        if "embed" in self.engines:
            self.inputs["embed"].pop("ids_read_data").assign(host["ids_read_data"])
        picked = self.engines.get("pick") or dict(token_valid=const(0, 1), token=const(0, 32))
        told = ("start", "verifies", "position", "length", "tokens", "stops", "model", "abort")
        values = {name: host[name] for name in told}
        values |= dict(d_valid=d.valid, d_data=d.data, in_page=host["image"][0:PAGE_BITS])
        values |= dict(token_valid=picked["token_valid"], token=picked["token"])
        write_error = any_of(self.write_errors) if self.write_errors else const(0, 1)
        errors = dict(memory_read=any_of(self.masters.errors), memory_write=write_error)
        errors |= dict(bounds=any_of(self.masters.outside), token=self._embed()["bad_token"])
        errors |= dict(watchdog=watched["watchdog"], checksum=any_of([check["bad"] for check in self.checks]))
        values |= {f"{name}_error": signal for name, signal in errors.items()}
        values["checking"] = any_of([check["checking"] for check in self.checks])
        values["verify_ready"] = any_of([check["ready"] for check in self.checks])
        values["ready"] = pack([self.ready[name] for name in config.engines])
        values["done"] = pack([self.done[name] for name in config.engines])
        for name, signal in values.items():
            self.sequencer_inputs.pop(name).assign(signal)
        self.outputs = {port: host[port] for port in slave_outputs(PREFIX)} | self.masters.outputs
        self.outputs["irq"] = host["irq"]

    def _sequence(self) -> dict[str, Signal]:
        """What reads and appends the sequence's token ids."""
        s, position = self.sequencer, self.config.position_bits
        if not self.config.has_sequence:
            return {}
        read = {port: self._embed()[port] for port in ("ids_read", "ids_read_address")}
        return read | dict(
            token_write=s["append"],
            token_write_address=s["append_position"][0:position],
            token_write_data=s["append_token"],
        )

    def _embed(self) -> dict[str, Signal]:
        """What embed puts out, or nothing."""
        nothing = dict(ids_read=const(0, 1), ids_read_address=const(0, self.config.position_bits))
        nothing |= dict(bad_token=const(0, 1), e_valid=const(0, 1), e_data=const(0, self.config.word_bits("r")))
        return self.engines.get("embed") or nothing

    def _watched(self, busy: Signal) -> dict[str, Signal]:
        """The watchdog: progress is a task given or done, or a word on any bus."""
        m = self.m
        self.start = Wire(1)
        self.answered = any_of(self.masters.answers).named("answered")
        moved = [self.answered, *self.dispatch.values(), *self.done.values()]
        engines = self.sequencer["pending"].zext(16)
        return m.instance(
            watch(m.design, self.config),
            "watch",
            rst=self.hard,
            progress=any_of(moved),
            busy=busy,
            start=self.start.signal,
            engines_busy=engines,
        )

    def _events(self) -> None:
        events = [*self.dispatch.values(), *(self.done[name] for name in self.config.engines)]
        self.outputs["events"] = self.m.reg(pack(events), "events_q", reset=0)
        left = [f"{name}.{port}" for name, wires in self.inputs.items() for port in wires]
        left += [*self.sequencer_inputs, *self.halt_inputs]
        assert not left, f"inputs that nothing drives: {left}"
