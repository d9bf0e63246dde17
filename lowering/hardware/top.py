"""The whole accelerator: registers, sequencer, LutLinear and the engines around it, on-chip memories, AXI masters.

What an engine that the configuration does not have would use - memories, masters, streams - is not there either.

Ports: `ap_clk`, `ap_rst_n`, where the machine has two clocks also `ap_clk_2`, that of all AXI4 masters; the AXI4-Lite
slave s_axi_control and its interrupt `irq` (`interrupt` is a word of C++ to Verilator); AXI4 read masters m_axi_d
(tasks), _p (vector parameters), _c, _q, _w0.. (of LutLinear), _e (embedding), _k0.. and _v0.. (KV cache), _x (engine
load), the write masters m_axi_kv and m_axi_y (engine save); `events`, a bit for each engine that takes a task and one
for each that ends one, for simulation.
"""

from __future__ import annotations

from collections.abc import Sequence

from lutllm.lowering.hardware.attention.attention import attention
from lutllm.lowering.hardware.control.axi_lite import lite_bus
from lutllm.lowering.hardware.control.halt import halt
from lutllm.lowering.hardware.control.records import task_record
from lutllm.lowering.hardware.control.register_map import address_bits
from lutllm.lowering.hardware.control.registers import PREFIX, registers
from lutllm.lowering.hardware.control.sequencer import PAGE_BITS, sequencer
from lutllm.lowering.hardware.control.watch import watch
from lutllm.lowering.hardware.lib.axi import burst_limit
from lutllm.lowering.hardware.lib.bundle import Link, Wire
from lutllm.lowering.hardware.lib.checks import region_check
from lutllm.lowering.hardware.lib.circt import Design, Instance, Module
from lutllm.lowering.hardware.lib.memory import stored
from lutllm.lowering.hardware.lib.route import ORDERS, router
from lutllm.lowering.hardware.lib.signal import Fields, Signal, all_of, any_of, const, mux, pack
from lutllm.lowering.hardware.lib.state import first_of
from lutllm.lowering.hardware.lib.stream import Read, Stream, Write
from lutllm.lowering.hardware.linear.core import linear_core
from lutllm.lowering.hardware.linear.ports import Masters, bus_ports, spread
from lutllm.lowering.hardware.linear.records import ROUND
from lutllm.lowering.hardware.vector.embed import embed
from lutllm.lowering.hardware.vector.feed import feed
from lutllm.lowering.hardware.vector.heads import heads
from lutllm.lowering.hardware.vector.load import load
from lutllm.lowering.hardware.vector.norm import norm
from lutllm.lowering.hardware.vector.pick import pick
from lutllm.lowering.hardware.vector.residual import SUM_BITS, residual
from lutllm.lowering.hardware.vector.save import save
from lutllm.lowering.hardware.vector.store import store
from lutllm.lowering.hardware.vector.swiglu import swiglu
from lutllm.lowering.machine.accelerator import (
    DYNAMIC_BITS,
    LINEAR_STREAMS,
    PARAMETERIZED,
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
LINEAR_ROOM = 2  # cycles from when a unit of LutLinear takes a round until another may go out
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
    inputs = {"ap_rst_n": 1, PREFIX: lite_bus(address_bits(config))}
    outputs = {"irq": 1, "events": 2 * len(config.engines)} | bus_ports(config)
    clock = None if config.clocks is None else BUS_CLOCK
    return design.module(TOP, inputs, outputs, lambda m: _Top(m, config).outputs, reset=False, top=True, clock=clock)


class _Top:
    """Builds the top module's body; methods are its sections, `outputs` its outputs.

    Engines are instantiated one after the other, with the inputs that are there; the rest are connected as they come.
    """

    def __init__(self, m: Module, config: AcceleratorConfig) -> None:
        self.m, self.config = m, config
        self.hard = ~m["ap_rst_n"]
        self.halt = m.instance(halt(m.design), "halting", hard=self.hard)
        m.rst = self.halt["reset"]
        image, limit = Wire(64), Wire(64)
        self.masters = Masters(m, config, image.signal, limit.signal, self.hard, self.halt["clear"])
        ends = dict(over=self.halt["over"], torn=self.halt["torn"])
        self.sequencer = m.instance(sequencer(m.design, config), "sequencer", hard=self.hard, **ends)
        limit.assign(self.sequencer["limit"])
        self.verifies = Wire(1)
        self.checks: list[dict[str, Signal]] = []
        self.fields = self.sequencer["fields"]
        self.dispatch = dict(zip(config.engines, self.sequencer["dispatch"].chunks(1), strict=True))
        self.chosen = dict(zip(config.engines, self.sequencer["chosen"].chunks(1), strict=True))
        self.ready: dict[str, Signal] = {}
        self.engines: dict[str, Instance] = {}
        self.write_errors: list[Signal] = []
        for name in config.having(tuple(BUILDERS)):
            tasks = Stream(self.dispatch[name], data=self._task(name))
            self.ready[name] = tasks.ready
            made = BUILDERS[name](m.design, config)
            self.engines[name] = m.instance(made, name, task=tasks.fifo(m, f"{name}_tasks", QUEUE))
        self.done = {name: engine["done"] for name, engine in self.engines.items()}
        self._memories()
        self._parameters()
        self._linear()
        self._caches()
        self._transfers()
        host = self._host()
        image.assign(host["image"])
        self.outputs = dict(self.masters.outputs, irq=host["irq"], events=self.events)

    def _task(self, name: str) -> Signal:
        """The held descriptor as a task of `name`."""
        bits = self.config.task_bits(name)
        found = Fields(**bits).unpack(self.fields[0 : sum(bits.values())])
        dynamic = dict(tokens=self.sequencer["task_tokens"], position=self.sequencer["pass_position"])
        record = task_record(self.config, name)
        assert set(dynamic) == set(DYNAMIC_BITS)
        values = found | dynamic
        return record.pack(**{field: values[field] for field in record.widths})

    def _memories(self) -> None:
        """The on-chip memories, their ports shared by those who take turns."""
        m, config = self.m, self.config
        for memory in WRITERS:
            writers, readers = config.having(config.writers(memory)), config.having(config.readers(memory))
            if not writers:
                continue
            depth = {"r": config.r_words, "x": config.x_words, "y": config.y_words, "q": config.q_words}[memory]
            write = _shared([self.engines[name][f"{memory}_write"] for name in writers])
            if memory == "x":
                self.engines["feed"].connect(written=write.enable)
            copies = range(config.attention_cores) if memory == "q" else ("",)  # who reads one has one
            for port in (f"{memory}{copy}" for copy in copies):
                links = [self.engines[name][f"{port}_read"] for name in readers]
                read = _shared(links)
                found = stored(m, f"memory_{port}", depth, write=write, read=(read.enable, read.address))
                for link in links:
                    link.drive(data=found)
        if "residual" in self.engines:  # keeps sums of squares, which norm reads
            nobody = Read(const(0, config.token_bits), SUM_BITS)
            squares = self.engines["norm"]["squares_read"] if "norm" in self.engines else nobody
            self.engines["residual"].connect(squares_read=squares)
            if "layer_norm" in config.modes:
                self.engines["residual"].connect(totals_read=self.engines["norm"]["totals_read"])

    def _parameters(self) -> None:
        """Stream p: one reader, its words to the engines in the order of their tasks."""
        m, config, asked = self.m, self.config, self.sequencer["parameters"]
        takers = config.having(PARAMETERIZED)
        if not takers:  # what asks for parameters nevertheless stands still
            asked.drive(ready=const(0, 1))
            return
        command = Stream(asked.valid, **asked.payload)
        order = Stream(asked.valid, way=pack([self.chosen[name] for name in takers]), count=asked.beats)
        asked.drive(ready=command.ready & order.ready)
        words = self._reader("p", config.p_bits, command.fifo(m, "p_commands", fifo_depth(config, "p_commands")))
        made = router(m.design, "route_p", takers, config.p_bits, fifo_depth(config, "p_orders"))
        routed = m.instance(made, "route_p", order=order, **{"in": words})
        for name in takers:
            self.engines[name].connect(p=routed[name])

    def _linear(self) -> None:
        """LutLinear between feed and the sinks of stream y."""
        m, engine = self.m, self.config.engine
        bits = TASK_BITS["linear"]
        values = Fields(**bits).unpack(self.fields[0 : sum(bits.values())]) | {"tokens": self.sequencer["task_tokens"]}
        round_ = ROUND.pack(**{name: values[name][0:width] for name, width in ROUND.widths.items()})
        rounds = Stream(self.dispatch["linear"], data=round_)
        streams, rooms = self._linear_streams()
        made = linear_core(m.design, engine, self.config.depths)
        given = dict(streams, x=self.engines["feed"]["out"], flush=self.sequencer["flush"])
        core = m.instance(made, "linear", round=rounds, **given)
        self.ready["linear"] = m.reg(all_of([rounds.ready, *rooms]), "linear_ready", reset=0)
        self._sinks(core["y"])

    def _linear_streams(self) -> tuple[dict[str, Stream], list[Signal]]:
        """Streams c, q and w of LutLinear, whose transfers come with the task; and whether there is room for them."""
        config, found, rooms = self.config, dict[str, Stream](), list[Signal]()
        words = self.fields.chunks(DESCRIPTOR_PORT_BITS)
        place = -(-sum(TASK_BITS["linear"].values()) // DESCRIPTOR_PORT_BITS)
        for number, kind in enumerate(LINEAR_STREAMS):
            first = place + STREAM_WORDS * number
            asked = Fields(**STREAM_BITS).unpack(pack(words[first : first + STREAM_WORDS]))
            names = config.engine.weight_streams if kind == "w" else [kind]
            push, addresses, beats = spread(self.m, self.dispatch["linear"], asked, len(names))
            for name, address in zip(names, addresses, strict=True):
                command = Stream(push, address=address, beats=beats)
                rooms.append(command.ready)
                queue = command.fifo(self.m, f"{name}_commands", ROUNDS_AHEAD)
                found[name] = self._reader(name, config.read_ports[name], queue)
                if kind != "w":
                    found[name] = self.masters.words(name, found[name], config.engine.word_bits[kind])
        return found, rooms

    def _sinks(self, y: Stream) -> None:
        """Stream y to the engine whose task is next."""
        m, config = self.m, self.config
        sinks = config.having(SINKS)
        # The held descriptor stands still for some cycles before it goes out: the product may take one of them.
        products = {name: self._words_of_pass(name) for name in sinks}
        count = products[sinks[0]]
        for name in sinks[1:]:
            count = mux(self.chosen[name], products[name], count)
        push = any_of([const(0, 1), *(self.dispatch[name] for name in sinks if name != "residual")])
        if "residual" in sinks:
            own = self.dispatch["residual"] & ~self._field("residual", "load")[0]
            push = push | (own & ~self._field("residual", "normed")[0] if "norm_after" in config.modes else own)
        # A cycle later, as no result comes so soon, and no other order.
        way = m.reg(pack([self.chosen[name] for name in sinks]), "order_way")
        order = Stream(m.reg(push, "order_push", reset=0), way=way, count=m.reg(count, "order_count"))
        made = router(m.design, "route_y", sinks, config.word_bits("y"), fifo_depth(config, "y_orders"))
        routed = m.instance(made, "route_y", order=order, **{"in": y})
        for name in sinks:
            self.engines[name].connect(y=routed[name])
            self.ready[name] = self.ready[name] & order.ready
        self.done["linear"] = routed["finished"]
        self.sequencer.connect(y_idle=routed["idle"] & ~y.valid)

    def _field(self, engine: str, name: str) -> Signal:
        bits = self.config.task_bits(engine)
        return Fields(**bits).unpack(self.fields[0 : sum(bits.values())])[name]

    def _words_of_pass(self, engine: str) -> Signal:
        words = self._field(engine, "words").zext(32) * self.sequencer["task_tokens"].zext(32)
        return self.m.reg(words, f"{engine}_words_of_pass")

    def _caches(self) -> None:
        """The KV cache: units of attention read it through masters of their own, heads writes it through one."""
        if "heads" not in self.engines:  # and attention, which alone reads what it makes
            return
        for number in range(self.config.attention_units * self.config.attention_ports):
            for name in (f"k{number}", f"v{number}"):
                self._read("attention", name, command=f"{name}_command", data=name, bits=self.config.part_bits)
        self._write("heads", "kv", command="kv_command", data="kv", written="kv_written", responses="responses")

    def _transfers(self) -> None:
        """Rows from external memory and to it, and those of the embedding."""
        if "residual" in self.engines:
            nothing = Stream(const(0, 1), data=const(0, self.config.word_bits("r")))
            embedded = self.engines["embed"]["e"] if "embed" in self.engines else nothing
            self.engines["residual"].connect(e=embedded)
            if "norm_after" in self.config.modes:
                self.engines["residual"].connect(n=self.engines["norm"]["n"])
        if "embed" in self.engines:
            self._read("embed", "e", command="command", data="row")
        if "load" in self.engines:
            self._read("load", "x", command="command", data="in")
        if "save" in self.engines:
            self._write("save", "y", command="command", data="out", written="written", responses="y_responses")

    def _read(self, engine: str, master: str, *, command: str, data: str, bits: int = 0) -> None:
        """A read master whose commands an engine gives and whose beats it takes, joined to words of `bits`."""
        width = self.config.read_ports[master]
        stream = self._reader(master, width, self.engines[engine][command])
        if bits > width:
            stream = self.masters.words(master, stream, bits)
        self.engines[engine].connect(**{data: stream})

    def _write(self, engine: str, master: str, *, command: str, data: str, written: str, responses: str) -> None:
        """A write master of an engine's commands and words; `written` tells the engine of the end of each command."""
        out, bits = self.engines[engine], self.config.write_ports[master]
        sizes = dict(depth=fifo_depth(self.config, f"write_{master}"), responses=fifo_depth(self.config, responses))
        there, error = self.masters.writer(master, bits, out[command], out[data], **sizes)
        self.write_errors.append(error)
        out.connect(**{written: there})

    def _reader(self, name: str, bits: int, command: Stream) -> Stream:
        """A read master whose FIFO is as deep as the configuration says. In a run that verifies, what it reads is
        checked and goes no further; the lists come through port d even then."""
        depth = fifo_depth(self.config, f"read_{name[0]}")
        if name == "d":
            return self.masters.reader(name, bits, command, depth)
        verifies = self.verifies.signal
        task = {field: self._field(VERIFY, field) for field in ("port", "beats", "address", "signature")}
        mine = task["port"].eq(list(self.config.read_ports).index(name)).named(f"verify_by_{name}")
        start = self.sequencer["verify"] & mine
        region = {field: mux(verifies, task[field], signal) for field, signal in command.payload.items()}
        asked = Stream(command.valid | start, **region)
        command.drive(ready=asked.ready)
        beats = self.masters.reader(name, bits, asked, depth)
        check = self.m.instance(
            region_check(self.m.design, bits), f"check_{name}", start=start, beats=task["beats"],
            signature=task["signature"], moved=beats.valid & verifies, data=beats.data,
        )  # fmt: skip
        self.checks.append(check | dict(ready=all_of([mine, asked.ready, ~check["checking"]])))
        out = Stream(beats.valid & ~verifies, data=beats.data)
        beats.drive(ready=out.ready | verifies)
        return out

    def _host(self) -> Instance:
        """Registers and sequencer; the descriptors' master; the watchdog."""
        m, config, s = self.m, self.config, self.sequencer
        s.connect(d=self._reader("d", DESCRIPTOR_PORT_BITS, s["d_command"]))
        self.masters.close()
        idle = m.reg(all_of(self.masters.idle), "bus_idle")  # also in a reset, which lasts until then
        answered = any_of(self.masters.answers).named("answered")
        # Progress is a task given or done, or a word on any bus, some cycles ago.
        events = [*self.dispatch.values(), *(self.done[name] for name in config.engines)]
        self.events = m.reg(pack(events), "events_q", reset=0)
        moved = m.reg(answered | self.events.ne(0), "moved_q", reset=0)
        engines = s["pending"].zext(16)
        given = dict(rst=self.hard, busy=s["busy"], progress=moved, engines_busy=engines)
        watched = m.instance(watch(m.design, config), "watch", **given)
        given = {name: s[name] for name in ("busy", "error", "made", "last", "cycles")} | dict(watched)
        host = m.instance(
            registers(m.design, config), "registers", rst=self.hard, quiet=idle & ~self.halt["draining"],
            done=s["finished"], **given, **{PREFIX: m[PREFIX]}, **self._sequence(),
        )  # fmt: skip
        watched.connect(start=host["start"])
        self.verifies.assign(host["verifies"])
        writing, stopped = any_of([const(0, 1), *self.masters.torn]), self.masters.stopped
        self.halt.connect(halt=s["halt"], idle=idle, moved=answered, writing=writing, stopped=stopped)
        told = ("start", "verifies", "position", "length", "tokens", "stops", "model", "abort")
        picked = self.engines.get("pick") or dict(token_valid=const(0, 1), token=const(0, 32))
        s.connect(
            in_page=host["image"][0:PAGE_BITS], token_valid=picked["token_valid"], token=picked["token"],
            **{name: host[name] for name in told},
        )  # fmt: skip
        errors = dict(memory_read=any_of(self.masters.errors), memory_write=any_of([const(0, 1), *self.write_errors]))
        bad = self.engines["embed"]["bad_token"] if "embed" in self.engines else const(0, 1)
        errors |= dict(bounds=any_of(self.masters.outside), token=bad, watchdog=watched["watchdog"])
        errors |= dict(checksum=any_of([check["bad"] for check in self.checks]))
        s.connect(**{f"{name}_error": signal for name, signal in errors.items()})
        s.connect(
            checking=any_of([check["checking"] for check in self.checks]),
            verify_ready=any_of([m.reg(check["ready"], "verify_room", reset=0) for check in self.checks]),
            ready=pack([self.ready[name] for name in config.engines]),
            done=pack([self.done[name] for name in config.engines]),
        )
        return host

    def _sequence(self) -> dict[str, Link]:
        """What reads and appends the sequence's token ids."""
        if not self.config.has_sequence:
            return {}
        append, bits = self.sequencer["append"], self.config.position_bits
        nobody = Read(const(0, bits), 32, const(0, 1))
        ids = self.engines["embed"]["ids_read"] if "embed" in self.engines else nobody
        return dict(ids_read=ids, token_write=Write(append.enable, append.address[0:bits], append.data))


def _shared(links: Sequence[Link]) -> Link:
    """One port for those who take turns at it."""
    names = [name for name in links[0].forward if name != "enable"]
    chosen = {name: first_of([(link.enable, link.forward[name]) for link in links])[1] for name in names}
    return Link(dict(enable=any_of([link.enable for link in links]), **chosen))
