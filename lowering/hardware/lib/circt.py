"""A thin typed layer to write hw, comb and seq with.

A `Design` collects modules; `design.module(name, inputs, outputs, body)` makes one, calling `body(m)` with a
`Module` that gives ports and registers. `Signal` wraps an SSA value of type iN: operators check widths and raise
`WidthError` where the hardware would silently truncate. Streams are `valid`/`ready`/data signals: a word moves in
a cycle where valid and ready are both 1; valid never waits for ready.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from itertools import product
from typing import Any, NamedTuple

from lutllm.lowering.hardware.lib.circt_bindings import comb, context, hw, ir, seq

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
_PREDICATES = {"eq": 0, "ne": 1, "slt": 2, "sle": 3, "sgt": 4, "sge": 5, "ult": 6, "ule": 7, "ugt": 8, "uge": 9}


class WidthError(ValueError):
    """Two signals of different width meet, or a slice leaves its signal: a defect of a generator."""


class Signal:
    """A value of `width` bits. Arithmetic keeps the width; extend first where growth is meant."""

    __slots__ = ("value",)

    def __init__(self, value: ir.Value) -> None:
        self.value = value

    @property
    def width(self) -> int:
        return int(ir.IntegerType(self.value.type).width)

    def named(self, name: str) -> Signal:
        """The same signal, called `name` in the SystemVerilog if it stands on its own there."""
        owner = self.value.owner
        if not isinstance(owner, ir.Block):
            owner.operation.attributes["sv.namehint"] = ir.StringAttr.get(name)
        return self

    def _same(self, other: Signal | int) -> Signal:
        other = const(other, self.width) if isinstance(other, int) else other
        if other.width != self.width:
            raise WidthError(f"expected operands of one width, got {self.width} and {other.width} bits")
        return other

    def __add__(self, other: Signal | int) -> Signal:
        return Signal(comb.add([self.value, self._same(other).value]))

    def __sub__(self, other: Signal | int) -> Signal:
        return Signal(comb.sub(self.value, self._same(other).value))

    def __mul__(self, other: Signal | int) -> Signal:
        return Signal(comb.mul([self.value, self._same(other).value]))

    def __and__(self, other: Signal | int) -> Signal:
        return Signal(comb.and_([self.value, self._same(other).value]))

    def __or__(self, other: Signal | int) -> Signal:
        return Signal(comb.or_([self.value, self._same(other).value]))

    def __xor__(self, other: Signal | int) -> Signal:
        return Signal(comb.xor([self.value, self._same(other).value]))

    def __invert__(self) -> Signal:
        return self ^ ((1 << self.width) - 1)

    def __lshift__(self, other: Signal | int) -> Signal:
        return Signal(comb.shl(self.value, self._same(other).value))

    def __rshift__(self, other: Signal | int) -> Signal:
        return Signal(comb.shru(self.value, self._same(other).value))

    def sra(self, other: Signal | int) -> Signal:
        """Arithmetic shift right."""
        return Signal(comb.shrs(self.value, self._same(other).value))

    def compare(self, predicate: str, other: Signal | int) -> Signal:
        code = ir.IntegerAttr.get(_int(64), _PREDICATES[predicate])
        return Signal(comb.icmp(code, self.value, self._same(other).value))

    def eq(self, other: Signal | int) -> Signal:
        return self.compare("eq", other)

    def ne(self, other: Signal | int) -> Signal:
        return self.compare("ne", other)

    def ult(self, other: Signal | int) -> Signal:
        return self.compare("ult", other)

    def slt(self, other: Signal | int) -> Signal:
        return self.compare("slt", other)

    def __getitem__(self, index: int | slice) -> Signal:
        """`s[i]` is bit i; `s[low:high]` is bits low..high-1, as Python slices."""
        low, high = (index.start or 0, index.stop) if isinstance(index, slice) else (index, index + 1)
        high = self.width if high is None else high
        if not 0 <= low < high <= self.width:
            raise WidthError(f"expected a slice inside {self.width} bits, got [{low}:{high}]")
        return self if high - low == self.width else Signal(comb.extract(_int(high - low), self.value, low))

    def chunks(self, width: int) -> list[Signal]:
        """The signal cut into words of `width` bits, lowest first."""
        if self.width % width:
            raise WidthError(f"expected a multiple of {width} bits, got {self.width}")
        return [self[i : i + width] for i in range(0, self.width, width)]

    def zext(self, width: int) -> Signal:
        if width < self.width:
            raise WidthError(f"expected at most {width} bits, got {self.width}")
        return self if width == self.width else pack([self, const(0, width - self.width)])

    def sext(self, width: int) -> Signal:
        if width < self.width:
            raise WidthError(f"expected at most {width} bits, got {self.width}")
        if width == self.width:
            return self
        sign = Signal(comb.replicate(_int(width - self.width), self[self.width - 1].value))
        return pack([self, sign])


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
        self._next.assign(value)
        self._enable.assign(const(1, 1) if enable is None else enable)
        return self.signal


class Wire:
    """A signal used before it is driven (`ready` against the data flow); `assign` drives it, once."""

    def __init__(self, width: int) -> None:
        self._cast = ir.Operation.create("builtin.unrealized_conversion_cast", results=[_int(width)], operands=[])
        self.signal = Signal(self._cast.results[0])

    def assign(self, value: Signal) -> None:
        if value.width != self.signal.width:
            raise WidthError(f"expected {self.signal.width} bits, got {value.width}")
        self._cast.results[0].replace_all_uses_with(value.value)
        self._cast.operation.erase()
        self.signal.value = value.value  # a later reader of the signal sees its driver


class Module:
    """A module being built: its input ports as attributes, registers, and instances of other modules."""

    def __init__(self, design: Design, arguments: dict[str, ir.Value], clock: str | None) -> None:
        self.design = design
        self.clk = arguments.pop(next(iter(arguments)))
        self.other = arguments.pop(clock) if clock else None
        self.rst: Any = Signal(arguments.pop("rst")) if "rst" in arguments else None
        self.inputs = {name: Signal(value) for name, value in arguments.items()}

    def __getitem__(self, name: str) -> Signal:
        return self.inputs[name]

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

    def reg(
        self,
        value: Signal,
        name: str,
        *,
        enable: Signal | None = None,
        reset: int | None = None,
        by: Signal | None = None,
    ) -> Signal:
        """A register loading `value` at each clock edge where `enable` is 1 (default: always)."""
        return self.state(value.width, name, reset=reset, by=by).set(value, enable)

    def state(self, width: int, name: str, *, reset: int | None = None, by: Signal | None = None) -> Register:
        """A register that feeds back: read `.signal`, then `.set(next, enable)` exactly once. It takes the value
        `reset` with the module's reset, or where `by` is 1."""
        return Register(self, width, name, reset, by)

    def counter(self, width: int, name: str, *, step: Signal, last: Signal, restart: Signal | None = None) -> Signal:
        """Counts 0.. at each `step`, back to 0 after `last` (and at `restart`)."""
        count = self.state(width, name, reset=0)
        following = mux(last, const(0, width), count.signal + 1)
        enable = step
        if restart is not None:
            following, enable = mux(restart, const(0, width), following), step | restart
        return count.set(following, enable)

    def instance(self, module: str, name: str, **inputs: Signal) -> dict[str, Signal]:
        """Instantiate `module`; clock and reset are connected unless `rst` is given; where it has a second clock, that
        is this module's other one. Returns its outputs."""
        made = self.design.modules[module]
        reset = inputs.pop("rst", self.rst)
        if set(inputs) != set(made.inputs):
            raise WidthError(f"{module}: expected inputs {sorted(made.inputs)}, got {sorted(inputs)}")
        for port, signal in inputs.items():
            if signal.width != made.inputs[port]:
                raise WidthError(f"{module}.{port}: expected {made.inputs[port]} bits, got {signal.width}")
        operands = {port: signal.value for port, signal in inputs.items()}
        if made.reset:
            operands["rst"] = reset.value
        if made.clock:
            operands[made.clock] = self.other
        results = made.op.instantiate(name, clk=self.clk, **operands).operation.results
        return dict(zip(made.outputs, map(Signal, results), strict=True))

    def output_of(self, module: str, name: str, **inputs: Signal) -> Signal:
        """Like `instance`, for a module with one output."""
        (signal,) = self.instance(module, name, **inputs).values()
        return signal


class _Made:
    def __init__(
        self,
        op: hw.HWModuleOp,
        inputs: dict[str, int],
        outputs: dict[str, int],
        reset: bool,
        clock: str | None = None,
    ) -> None:
        self.op, self.inputs, self.outputs, self.reset, self.clock = op, inputs, outputs, reset, clock


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
        inputs: dict[str, int],
        outputs: dict[str, int],
        body: Callable[[Module], dict[str, Signal]],
        *,
        reset: bool = True,
        top: bool = False,
        clock: str | None = None,
    ) -> str:
        """Add module `name` (once; a second call with the name returns it) and return the name.

        Every module has a clock `clk` (the `top`: `ap_clk`, and its name without the prefix), perhaps a second
        `clock`, and, unless `reset` is False, a synchronous active-high reset `rst` before its own ports. `inputs` and
        `outputs` give widths in bits; `body` returns every output.
        """
        if name in self.modules:
            return name
        with self.context, ir.Location.unknown(), ir.InsertionPoint(self.mlir.body):
            names = ["ap_clk" if top else "clk", *([clock] if clock else [])]
            ports = [(port, ir.Type.parse("!seq.clock")) for port in names] + ([("rst", _int(1))] if reset else [])
            ports += [(port, _int(width)) for port, width in inputs.items()]
            op = hw.HWModuleOp(
                name=name if top else self.symbol(name),
                input_ports=ports,
                output_ports=[(port, _int(width)) for port, width in outputs.items()],
                body_builder=lambda made: _build_body(self, made, ports, name, outputs, body, clock),
            )
            self.modules[name] = _Made(op, inputs, outputs, reset, clock)
        return name

    def symbol(self, name: str) -> str:
        """What module `name` is called in the text."""
        return f"{self.prefix}{name}"

    def add_text(self, name: str, text: str, inputs: dict[str, int], outputs: dict[str, int]) -> str:
        """Add a module written as hw-level text, without reset: for leaves that need ops this layer does not have. The
        text calls it @$NAME$."""
        with self.context, ir.Location.unknown():
            parsed = ir.Module.parse(text.replace("$NAME$", self.symbol(name)))
            op = parsed.body.operations[0].operation.clone(ir.InsertionPoint(self.mlir.body))
        self.modules[name] = _Made(op.opview, inputs, outputs, reset=False)
        return name

    def text(self) -> str:
        return str(self.mlir)

    def verify(self) -> None:
        with self.context:
            self.mlir.operation.verify()


def _build_body(design, made, ports, name, outputs, body, clock):  # type: ignore[no-untyped-def]
    arguments = dict(zip((port for port, _ in ports), made.entry_block.arguments, strict=True))
    results = body(Module(design, arguments, clock))
    if set(results) != set(outputs):
        raise WidthError(f"{name}: expected outputs {sorted(outputs)}, got {sorted(results)}")
    for port, width in outputs.items():
        if results[port].width != width:
            raise WidthError(f"{name}.{port}: expected {width} bits, got {results[port].width}")
    return {port: results[port].value for port in outputs}


def _int(width: int) -> ir.IntegerType:
    return ir.IntegerType.get_signless(width)


def const(value: int, width: int) -> Signal:
    """A constant; a negative value is taken in two's complement. Raises `WidthError` if it does not fit."""
    if not -(1 << (width - 1)) <= value < 1 << width:
        raise WidthError(f"expected a constant of {width} bits, got {value}")
    if value >= 1 << (width - 1):
        value -= 1 << width
    return Signal(hw.constant(ir.IntegerAttr.get(_int(width), value)))


def pack(parts: Sequence[Signal]) -> Signal:
    """Concatenate, lowest part first."""
    if len(parts) == 1:
        return parts[0]
    return Signal(comb.concat([part.value for part in reversed(parts)]))


def mux(condition: Signal, true: Signal, false: Signal) -> Signal:
    return Signal(comb.mux(condition.value, true.value, true._same(false).value))


def select(entries: Sequence[Signal], index: Signal) -> Signal:
    """`entries[index]` as a tree of 2:1 multiplexers; entries past the end read as the last one."""
    level = list(entries)
    for bit in range(index.width):
        if len(level) == 1:
            break
        level += [level[-1]] * (len(level) % 2)
        level = [mux(index[bit], level[i + 1], level[i]) for i in range(0, len(level), 2)]
    return level[0]


def any_of(signals: Sequence[Signal]) -> Signal:
    return signals[0] if len(signals) == 1 else Signal(comb.or_([s.value for s in signals]))


def all_of(signals: Sequence[Signal]) -> Signal:
    return signals[0] if len(signals) == 1 else Signal(comb.and_([s.value for s in signals]))


def parity(signal: Signal) -> Signal:
    """Whether an odd number of bits is 1."""
    return Signal(comb.parity(signal.value))


class Fields:
    """A record in one signal: named fields of fixed width, the first lowest."""

    def __init__(self, **widths: int) -> None:
        self.widths = widths
        self.width = sum(widths.values())

    def subset(self, *names: str) -> Fields:
        """A smaller record of some of the fields."""
        return Fields(**{name: self.widths[name] for name in names})

    def narrowed(self, **widths: int) -> Fields:
        """The same record with other widths for some fields."""
        return Fields(**{**self.widths, **widths})

    def pack(self, **values: Signal) -> Signal:
        if set(values) != set(self.widths):
            raise WidthError(f"expected fields {sorted(self.widths)}, got {sorted(values)}")
        for name, width in self.widths.items():
            if values[name].width != width:
                raise WidthError(f"field {name}: expected {width} bits, got {values[name].width}")
        return pack([values[name] for name in self.widths])

    def unpack(self, signal: Signal) -> dict[str, Signal]:
        if signal.width != self.width:
            raise WidthError(f"expected a record of {self.width} bits, got {signal.width}")
        fields, low = {}, 0
        for name, width in self.widths.items():
            fields[name] = signal[low : low + width]
            low += width
        return fields


Flags = Mapping[str, Signal]
# Of a loop nest, outermost loop first: its name, and its count or what makes that of flags of the loops around it,
# `NAME_last` and `NAME_first`.
Levels = Sequence[tuple[str, "Signal | Callable[[Flags], Signal]"]]


class Nest(NamedTuple):
    """Where nested loops stand, by the name of the loop: the iteration, whether it is the last, the first."""

    index: dict[str, Signal]
    last: dict[str, Signal]
    first: dict[str, Signal]


def loop_nest(m: Module, step: Signal, levels: Levels) -> Nest:
    """Nested counters, outermost first, moving one iteration at each `step`. After the last iteration of all loops the
    nest is back at its first.

    `last` and `first` are registers, made a cycle ahead, so that no path leads through one loop to the next; only where
    a count comes from a port is `last` worked out of it at once.
    """
    loops: list[_Loop] = []
    for name, count in levels:
        loops.append(_Loop(m, name, count, loops, step))
    enable = step
    for loop in reversed(loops):
        loop.enable, enable = enable, enable & loop.is_last
    ahead: dict[str, Signal] = {}
    for loop in loops:
        loop.drive(ahead)
    return Nest(*({loop.name: getattr(loop, at) for loop in loops} for at in ("at", "is_last", "is_first")))


class _Loop:
    """A loop of a nest, inside others: its registers, and what drives them."""

    def __init__(
        self, m: Module, name: str, count: Signal | Callable[[Flags], Signal], around: Sequence[_Loop], step: Signal
    ) -> None:
        def counted(flags: Flags) -> Signal:
            return count if isinstance(count, Signal) else count(flags)

        flags = _Asked({f"{loop.name}_first": loop.is_first for loop in around})
        flags |= {f"{loop.name}_last": loop.is_last for loop in around}
        now = counted(flags)
        self.m, self.name, self.asked, self.enable = m, name, flags.asked, step
        self._index, self._first = m.state(now.width, f"{name}_index", reset=0), m.state(1, f"{name}_first", reset=1)
        self.at, self.is_first = self._index.signal, self._first.signal
        # Counts of the next cycle, for all that the flags asked for may be then.
        choices = product((const(0, 1), const(1, 1)), repeat=len(self.asked))
        self._counts = [upcoming(m, counted(dict(zip(self.asked, bits, strict=True)))) for bits in choices]
        known = {f"{loop.name}_first" for loop in around} | {f"{loop.name}_last" for loop in around if loop.registered}
        self.registered = None not in self._counts and set(self.asked) <= known
        self._last = m.state(1, f"{name}_last") if self.registered else None
        self.is_last = self.at.eq(now - 1).named(f"{name}_last") if self._last is None else self._last.signal

    def drive(self, ahead: dict[str, Signal]) -> None:
        """`ahead`: the flags of the next cycle, of loops around this one; its own are added."""
        self._index.set(mux(self.is_last, const(0, self.at.width), self.at + 1), self.enable)
        self._first.set(self.is_last, self.enable)
        again, first = self.enable & self.is_last, mux(self.enable, self.is_last, self.is_first)
        if self.m.rst is not None:
            again, first = again | self.m.rst, first | self.m.rst
        ahead[f"{self.name}_first"] = first
        if self._last is None:
            return
        here = self.at + 1
        found = [
            mux(again, count.eq(1), mux(self.enable, count.eq(here + 1), count.eq(here))) for count in self._counts
        ]
        for flag in reversed(self.asked):
            found = [mux(ahead[flag], yes, no) for no, yes in zip(found[::2], found[1::2], strict=True)]
        ahead[f"{self.name}_last"] = found[0]
        self._last.set(found[0])


class _Asked(dict[str, Signal]):
    """Remembers what it was asked for."""

    def __init__(self, flags: Flags) -> None:
        super().__init__(flags)
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> Signal:
        if name not in self.asked:
            self.asked.append(name)
        return super().__getitem__(name)


def early(m: Module, signal: Signal, name: str) -> Signal:
    """The same signal from a register of its own: what is behind it need not wait for what it is made of. Raises
    `WidthError` where that is a port."""
    following = upcoming(m, signal)
    if following is None:
        raise WidthError(f"{name}: expected a signal that is made of registers, got a port in it")
    return m.reg(following, name)


def upcoming(m: Module, signal: Signal) -> Signal | None:
    """What a signal will be in the next cycle, worked out of what the registers take that it is made of; None where it
    is made of a port."""
    if isinstance(signal.value.owner, ir.Block):
        return None
    op = signal.value.owner.operation
    if op.name == "hw.constant":
        return signal
    if op.name == "seq.compreg.ce":
        data, _, enable, *reset = (
            Signal(value) if isinstance(value.type, ir.IntegerType) else None for value in op.operands
        )
        following = mux(enable, data, signal)
        return mux(reset[0], reset[1], following) if reset else following
    if not op.name.startswith("comb."):
        return None
    operands = [upcoming(m, Signal(value)) for value in op.operands]
    if None in operands:
        return None
    made = op.clone()
    for i, operand in enumerate(operands):
        made.operands[i] = operand.value
    return Signal(made.results[0])


CREDIT = 1  # cycles from giving one until it may be taken


def credit(m: Module, name: str, bits: int, *, give: Signal, take: Signal, initial: int = 0) -> Signal:
    """A counter of what may be taken, for each bit of `give`: up at that, down at `take`. Returns, from a register,
    whether there is any of all."""
    taken, kept = [], []
    for i, given in enumerate(give.chunks(1)):
        count, there = (
            m.state(bits, f"{name}_{i}", reset=initial),
            m.state(1, f"{name}_there_{i}", reset=int(initial > 0)),
        )
        up_down(count, given, take)
        taken.append(mux(given, there.signal, count.signal.ne(1)))
        kept.append(there.signal | given)
        there.set(mux(take, taken[-1], kept[-1]))
    if give.width == 1:
        return there.signal
    return m.reg(mux(take, all_of(taken), all_of(kept)), f"all_{name}", reset=int(initial > 0))


def up_down(count: Register, up: Signal, down: Signal) -> Signal:
    """Let `count` go up, down, or, at both, stay."""
    width = count.signal.width
    return count.set(count.signal + mux(up, const(1, width), const(-1, width)), up ^ down)


def round_shift(value: Signal, amount: Signal, bits: int) -> Signal:
    """`lutllm.numerics.round_shift`, cut to `bits`: the bit below the cut is the carry."""
    doubled = pack([const(0, 1), value])
    shifted = doubled.sra(amount.zext(doubled.width)).named("shifted")
    floor, carry = shifted[1:], shifted[0]
    width = max(bits, floor.width)
    return (floor.sext(width) + carry.zext(width)).named("rounded")[0:bits]


def delay(m: Module, signal: Signal, cycles: int, name: str, *, reset: int | None = None) -> Signal:
    """`signal`, `cycles` cycles later."""
    for _ in range(cycles):
        signal = m.reg(signal, name, reset=reset)
    return signal


def delay_record(m: Module, record: Fields, signal: Signal, name: str, cycles: int) -> list[dict[str, Signal]]:
    """The fields of `signal` by the cycles since it came, 0 to `cycles`; `valid` is 0 after reset."""
    found = [record.unpack(signal)]
    for i in range(1, cycles + 1):
        late = {f: m.reg(s, f"{name}_{f}_{i}", reset=0 if f == "valid" else None) for f, s in found[-1].items()}
        found.append(late)
    return found
