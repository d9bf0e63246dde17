"""Modules of hw, comb and seq: a thin typed layer over CIRCT's bindings.

A `Design` collects modules; `design.module(name, inputs, outputs, body)` makes one, calling `body(m)` with a `Module`
that gives ports and registers. Ports are widths in bits, or bundles of signals, which an instance connects by one name.
`Signal`s check widths, and where they are part of a pipeline, cycles (`lib.signal`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

from lutllm.lowering.hardware.lib.bundle import Bundle, Link, Ports, Wire, bundles, flat, linked, opened, wires
from lutllm.lowering.hardware.lib.circt_bindings import context, hw, ir, seq
from lutllm.lowering.hardware.lib.signal import (
    STEADY,
    CycleError,
    Pipeline,
    Signal,
    Time,
    WidthError,
    aligned,
    const,
    int_type,
    mux,
)

TARGETS = ("arc", "sv")
LOWERING_OPTIONS = ",".join(
    (
        "omitVersionComment",  # the same text from either package that carries CIRCT
        "locationInfoStyle=none",
        "disallowLocalVariables",
        "disallowPackedArrays",
        "emittedLineLength=120",
    )
)


class Register:
    """A register whose next value is given later by `set`; reading it before is what feedback needs."""

    def __init__(self, module: Module, width: int, name: str, reset: int | None, by: Signal | None) -> None:
        self._next, self._enable = Wire(width), Wire(1)
        kwargs, by = {}, module.rst if by is None else by
        if reset is not None:
            if by is None:
                raise WidthError(f"register {name}: expected a module with reset")
            kwargs = dict(reset=by.value, reset_value=const(reset, width).value)
        value = seq.compreg_ce(self._next.signal.value, module.clk, self._enable.signal.value, name=name, **kwargs)
        self.signal = Signal(value)

    def set(self, value: Signal, enable: Signal | None = None) -> Signal:
        value, enable = aligned(value, const(1, 1) if enable is None else enable)
        self._next.assign(value)
        self._enable.assign(enable)
        return self.signal


class Instance(dict[str, Any]):
    """An instance of a module: its outputs - signals, and links of bundles - by name. What it was not given of its
    inputs it must be given by `connect`."""

    def __init__(self, name: str, made: _Made, open_: dict[str, dict[str, Wire]]) -> None:
        super().__init__()
        self.name, self.made, self.open = name, made, open_
        self.results: dict[str, Signal] = {}

    def connect(self, **inputs: Any) -> None:
        for port, given in inputs.items():
            link = linked(given)
            for signal, wire in self.open.pop(port).items():
                wire.assign(link.forward[signal])
            self.answer(port, link)

    def answer(self, port: str, link: Link) -> None:
        """Drive what goes back from an input."""
        for signal, name in self.made.inputs[port].signals(port, back=True).items():
            link.back[signal].assign(self.results[name])


class Module:
    """A module being built: its input ports as attributes, registers, and instances of other modules."""

    def __init__(self, design: Design, arguments: dict[str, ir.Value], clock: str | None) -> None:
        self.design = design
        self.clk = arguments.pop(next(iter(arguments)))
        self.other = arguments.pop(clock) if clock else None
        self.rst: Any = Signal(arguments.pop("rst")) if "rst" in arguments else None
        self.inputs = {name: Signal(value) for name, value in arguments.items()}
        self.links: dict[str, Link] = {}
        self.instances: list[Instance] = []

    def __getitem__(self, name: str) -> Any:
        return self.links[name] if name in self.links else self.inputs[name]

    def other_side(self) -> Module:
        """The same module, seen from its other clock: registers and instances made through it are clocked by that one.
        It has no reset until it is given `rst`, which must be of that clock."""
        side = copy(self)
        side.clk, side.other, side.rst = self.other, self.clk, None
        return side

    def synchronized(self, value: Signal, name: str, *, reset: int | None = None) -> Signal:
        """`value`, a register of another clock of which one bit changes at a time, two cycles of this one later."""
        begin = {} if reset is None else dict(reset=self.rst.value, reset_value=const(reset, value.width).value)
        kept = ir.Attribute.parse('[#sv.attribute<"ASYNC_REG" = "\\"TRUE\\"">]')
        for stage in ("meta", "sync"):
            made = seq.compreg(value.value, self.clk, name=f"{name}_{stage}", **begin)
            made.owner.attributes["sv.attributes"] = kept
            value = Signal(made)
        return value

    def pipeline(self) -> Pipeline:
        """A pipeline that signals of this module may be part of."""
        return Pipeline(lambda signal, name, resets: self.reg(signal, name, reset=0 if resets else None))

    def reg(
        self,
        value: Signal,
        name: str,
        *,
        cycles: int = 1,
        enable: Signal | None = None,
        reset: int | None = None,
        by: Signal | None = None,
    ) -> Signal:
        """`value` some cycles later: registers that load at each clock edge where `enable` is 1 (default: always). In a
        pipeline, a value that is 0 while nothing is there begins as 0."""
        for _ in range(cycles):
            if enable is not None:
                value, enable = aligned(value, enable)
            reset = 0 if value.resets and reset is None and enable is None else reset
            made = self.state(value.width, name, reset=reset, by=by).set(value, enable)
            time = value.time.later(1) if isinstance(value.time, Time) else value.time
            value = Signal(made.value, time, resets=value.resets and enable is None)
        return value

    def state(self, width: int, name: str, *, reset: int | None = None, by: Signal | None = None) -> Register:
        """A register that feeds back: read `.signal`, then `.set(next, enable)` exactly once. It takes the value
        `reset` with the module's reset, or where `by` is 1."""
        return Register(self, width, name, reset, by)

    def flag(self, name: str, on: Signal, off: Signal | None = None, *, by: Signal | None = None) -> Signal:
        """A bit: 1 from the cycle after `on`, 0 from that after `off`; of both, `on` counts."""
        held = self.state(1, name, reset=0, by=by)
        return held.set(on | (held.signal if off is None else held.signal & ~off))

    def since(self, name: str, event: Signal, during: Signal) -> Signal:
        """1 from the cycle after `event` on, while `during` is 1."""
        held = self.state(1, name, reset=0)
        return held.set(during & (held.signal | event))

    def counter(self, width: int, name: str, *, step: Signal, last: Signal | None = None) -> Signal:
        """Counts 0.. at each `step`, back to 0 after `last`, or after its largest."""
        count = self.state(width, name, reset=0)
        following = count.signal + 1
        return count.set(following if last is None else mux(last, const(0, width), following), step)

    def instance(self, module: str, name: str, **inputs: Any) -> Instance:
        """Instantiate `module`; clock and reset are connected unless `rst` is given; where it has a second clock, that
        is this module's other one. A bundle is connected to a link. What is not given must be connected later."""
        made = self.design.modules[module]
        reset = inputs.pop("rst", self.rst)
        if not set(inputs) <= set(made.inputs):
            raise WidthError(f"{module}: expected inputs {sorted(made.inputs)}, got {sorted(inputs)}")
        links = {port: linked(given) for port, given in inputs.items()}
        rest = {port: kind for port, kind in made.inputs.items() if port not in links}
        found = Instance(f"{module} {name}", made, {p: wires(kind.forward) for p, kind in rest.items()})
        given = {made.inputs[p].port(p, n): s for p, link in links.items() for n, s in link.forward.items()}
        given |= {made.inputs[p].port(p, n): w.signal for p, ws in found.open.items() for n, w in ws.items()}
        back = {port: wires(kind.back) for port, kind in made.outputs.items()}
        given |= {made.outputs[p].port(p, n): w.signal for p, ws in back.items() for n, w in ws.items()}
        if set(given) != set(made.takes):
            raise WidthError(f"{module}: expected inputs {sorted(made.takes)}, got {sorted(given)}")
        for port, signal in given.items():
            if signal.width != made.takes[port]:
                raise WidthError(f"{module}.{port}: expected {made.takes[port]} bits, got {signal.width}")
        begin = made.begin(given)
        operands = {port: made.on_time(port, signal, begin).value for port, signal in given.items()}
        if made.reset:
            operands["rst"] = reset.value
        if made.clock:
            operands[made.clock] = self.other
        values = made.op.instantiate(name, clk=self.clk, **operands).operation.results
        found.results = {
            port: Signal(value, made.time_of(port, begin)) for port, value in zip(made.gives, values, strict=True)
        }
        for port, link in links.items():
            found.answer(port, link)
        for port, kind in made.outputs.items():
            forward = {signal: found.results[flat] for signal, flat in kind.signals(port).items()}
            found[port] = opened(kind.link(forward, back[port]))
        self.instances.append(found)
        return found

    def output_of(self, module: str, name: str, **inputs: Any) -> Any:
        """Like `instance`, for a module with one output."""
        (found,) = self.instance(module, name, **inputs).values()
        return found


@dataclass
class _Made:
    """A module, its ports, and their signals with their bits: those that it takes, those that it gives. `cycles` are
    those of the signals of a pipeline."""

    op: hw.HWModuleOp
    inputs: dict[str, Bundle]
    outputs: dict[str, Bundle]
    reset: bool
    clock: str | None = None
    cycles: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.takes, self.gives = flat(self.inputs, self.outputs), flat(self.outputs, self.inputs)

    def begin(self, given: dict[str, Signal]) -> Time | None:
        """When an instance of a pipeline begins, that all that is given comes in time for."""
        times = {port: given[port].time for port in given if isinstance(given[port].time, Time)}
        if not self.cycles or not times:
            return None
        if any(given[port].time is None for port in given if port in self.cycles):
            raise CycleError(f"{self.op.name.value}: expected inputs of a pipeline, got ordinary logic too")
        known = [time.cycle - self.cycles[port] for port, time in times.items() if time.cycle is not None]
        (pipeline,) = {time.pipeline for time in times.values()}
        return Time(pipeline, [max(known)])

    def on_time(self, port: str, signal: Signal, begin: Time | None) -> Signal:
        if begin is None or not isinstance(signal.time, Time):
            return signal
        due = begin.later(self.cycles[port]).cycle
        assert due is not None
        if signal.time.cycle is None:
            signal.time.meet(due)
        return signal.until(due)

    def time_of(self, port: str, begin: Time | None) -> Any:
        return None if begin is None else begin.later(self.cycles[port]) if port in self.cycles else STEADY


class Design:
    """Modules for one target: `arc` (simulation) or `sv` (SystemVerilog); only leaves differ between them. Names in the
    text begin with `prefix`, so that designs may stand beside each other."""

    def __init__(self, target: str, prefix: str = "") -> None:
        if target not in TARGETS:
            raise ValueError(f"expected target to be one of {', '.join(TARGETS)}, got {target!r}")
        self.target, self.prefix = target, prefix
        self.modules: dict[str, _Made] = {}
        self.context = context()
        with self.context, ir.Location.unknown():
            self.mlir = ir.Module.create()
            self.mlir.operation.attributes["circt.loweringOptions"] = ir.StringAttr.get(LOWERING_OPTIONS)

    def module(
        self,
        name: str,
        inputs: Ports,
        outputs: Ports,
        body: Callable[[Module], Mapping[str, Any]],
        *,
        reset: bool = True,
        top: bool = False,
        clock: str | None = None,
    ) -> str:
        """Add module `name` (once; a second call with the name returns it) and return the name.

        Every module has a clock `clk` (the `top`: `ap_clk`, and its name without the prefix), perhaps a second
        `clock`, and, unless `reset` is False, a synchronous active-high reset `rst` before its own ports. `inputs` and
        `outputs` give widths in bits, or bundles; `body` returns every output.
        """
        if name not in self.modules:
            self._add(name, bundles(inputs), bundles(outputs), body, reset=reset, top=top, clock=clock)
        return name

    def pipeline(
        self,
        name: str,
        inputs: dict[str, int],
        outputs: dict[str, int],
        body: Callable[[Module], Mapping[str, Signal]],
        *,
        steady: Sequence[str] = (),
        valid: Sequence[str] = (),
        latency: int | None = None,
        reset: bool = False,
    ) -> str:
        """Add a module that is a pipeline, and takes inputs in every cycle. The first input is of cycle 0, the others
        of that of what they first meet, so that they may come later, but for those that are `steady`. What is `valid`
        is 0 after reset. Outputs come when they are made; all of them after `latency` cycles where it is given, or
        `CycleError`."""
        if name in self.modules:
            return name

        def timed(m: Module) -> Mapping[str, Signal]:
            pipeline = m.pipeline()
            moving = [port for port in inputs if port not in steady]
            m.inputs |= {port: m.inputs[port].steady() for port in steady}
            m.inputs |= {port: pipeline.first_met(m.inputs[port], resets=port in valid) for port in moving[1:]}
            m.inputs[moving[0]] = pipeline.at(m.inputs[moving[0]])
            results = body(m)
            if latency is not None:
                made = {port: signal for port, signal in results.items() if signal.time is not STEADY}
                last = max(signal.cycle for signal in made.values())
                if last != latency:
                    raise CycleError(f"{name}: expected results after {latency} cycles, got them after {last}")
                results = dict(results) | {port: signal.until(latency) for port, signal in made.items()}
            signals = {port: m.inputs[port] for port in moving} | dict(results)
            for port, signal in signals.items():
                if signal.time is None or (isinstance(signal.time, Time) and signal.time.cycle is None):
                    raise CycleError(f"{name}.{port}: expected a signal of the pipeline, got one that is of no cycle")
            cycles.update({port: signal.cycle for port, signal in signals.items() if signal.time is not STEADY})
            return results

        cycles: dict[str, int] = {}
        self._add(name, bundles(inputs), bundles(outputs), timed, reset=reset)
        self.modules[name].cycles = cycles
        return name

    def _add(
        self,
        name: str,
        inputs: dict[str, Bundle],
        outputs: dict[str, Bundle],
        body: Callable[[Module], Mapping[str, Any]],
        *,
        reset: bool,
        top: bool = False,
        clock: str | None = None,
    ) -> None:
        takes, gives = flat(inputs, outputs), flat(outputs, inputs)

        def build(made: Any) -> dict[str, ir.Value]:
            arguments = dict(zip((port for port, _ in ports), made.entry_block.arguments, strict=True))
            return _build(Module(self, arguments, clock), name, inputs, outputs, body, gives)

        with self.context, ir.Location.unknown(), ir.InsertionPoint(self.mlir.body):
            names = ["ap_clk" if top else "clk", *([clock] if clock else [])]
            ports = [(port, ir.Type.parse("!seq.clock")) for port in names] + ([("rst", int_type(1))] if reset else [])
            ports += [(port, int_type(width)) for port, width in takes.items()]
            op = hw.HWModuleOp(
                name=name if top else self.symbol(name),
                input_ports=ports,
                output_ports=[(port, int_type(width)) for port, width in gives.items()],
                body_builder=build,
            )
            self.modules[name] = _Made(op, inputs, outputs, reset, clock)

    def loose(self, name: str) -> str:
        """The same module with every signal a port of its own, as a test bench drives them."""
        made = self.modules[name]
        self.modules[f"{name}, loose"] = replace(made, inputs=bundles(made.takes), outputs=bundles(made.gives))
        return f"{name}, loose"

    def symbol(self, name: str) -> str:
        """What module `name` is called in the text."""
        return f"{self.prefix}{name}"

    def add_text(
        self, name: str, text: str, inputs: dict[str, int], outputs: dict[str, int], latency: int | None = None
    ) -> str:
        """Add a module written as hw-level text, without reset: for leaves that need ops this layer does not have. The
        text calls it @$NAME$. With a `latency` it is a pipeline."""
        with self.context, ir.Location.unknown():
            parsed = ir.Module.parse(text.replace("$NAME$", self.symbol(name)))
            op = parsed.body.operations[0].operation.clone(ir.InsertionPoint(self.mlir.body))
        cycles = {} if latency is None else dict.fromkeys(inputs, 0) | dict.fromkeys(outputs, latency)
        self.modules[name] = _Made(op.opview, bundles(inputs), bundles(outputs), reset=False, cycles=cycles)
        return name

    def text(self) -> str:
        return str(self.mlir)

    def verify(self) -> None:
        with self.context:
            self.mlir.operation.verify()


def _build(
    m: Module,
    name: str,
    inputs: dict[str, Bundle],
    outputs: dict[str, Bundle],
    body: Callable[[Module], Mapping[str, Any]],
    gives: dict[str, int],
) -> dict[str, ir.Value]:
    """The values of all signals that leave a module."""
    for port, kind in inputs.items():
        if list(kind.forward) != [""]:
            m.links[port] = kind.link({n: m.inputs[flat] for n, flat in kind.signals(port).items()})
    results = body(m)
    if set(results) != set(outputs):
        raise WidthError(f"{name}: expected outputs {sorted(outputs)}, got {sorted(results)}")
    given: dict[str, Signal] = {}
    for port, kind in outputs.items():
        link = linked(results[port])
        for signal, wire in link.back.items():
            wire.assign(m.inputs[kind.port(port, signal)])
        given |= {kind.port(port, n): signal for n, signal in link.forward.items()}
    for port, link in m.links.items():
        for signal, wire in link.back.items():
            if not wire.driven:
                raise WidthError(f"{name}.{port}: expected something that drives {signal}, got nothing")
            given[inputs[port].port(port, signal)] = wire.signal
    for made in m.instances:
        if made.open:
            raise WidthError(f"{name}: expected what drives {', '.join(made.open)} of {made.name}, got nothing")
    if set(given) != set(gives):
        raise WidthError(f"{name}: expected signals {sorted(gives)}, got {sorted(given)}")
    for port, width in gives.items():
        if given[port].width != width:
            raise WidthError(f"{name}.{port}: expected {width} bits, got {given[port].width}")
    return {port: given[port].value for port in gives}
