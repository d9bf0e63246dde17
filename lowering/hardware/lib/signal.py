"""Signals: values of iN with operators that check widths - and cycles, where a signal is part of a pipeline.

A signal is *ordinary* logic, or *steady* (a constant, a task's field: the same in every cycle that matters), or stands
at a cycle of a pipeline (`Module.pipeline`, `Design.pipeline`). Where signals of one pipeline meet, the earlier ones
are carried to the cycle of the latest by registers, which a signal shares among all who need it late. Ordinary logic
that meets a pipeline, or two pipelines that meet, raise `CycleError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lutllm.lowering.hardware.lib.circt_bindings import comb, hw, ir

_PREDICATES = {"eq": 0, "ne": 1, "slt": 2, "sle": 3, "sgt": 4, "sge": 5, "ult": 6, "ule": 7, "ugt": 8, "uge": 9}


class WidthError(ValueError):
    """Two signals of different width meet, or a slice leaves its signal: a defect of a generator."""


class CycleError(ValueError):
    """Signals meet of which nobody says that they are of one cycle, or a result comes at another than is said: a defect
    of a generator."""


class Time:
    """A cycle of a pipeline, `offset` after `begin`: where nobody says when an input comes, that is known once the
    input is met by a signal that has a cycle."""

    def __init__(self, pipeline: Pipeline, begin: list[int | None], offset: int = 0) -> None:
        self.pipeline, self.begin, self.offset = pipeline, begin, offset

    @property
    def cycle(self) -> int | None:
        return None if self.begin[0] is None else self.begin[0] + self.offset

    def later(self, cycles: int) -> Time:
        return Time(self.pipeline, self.begin, self.offset + cycles)

    def meet(self, cycle: int) -> None:
        """It has no cycle yet: it is this one."""
        self.begin[0] = cycle - self.offset


STEADY = object()  # the time of what is the same in every cycle


class Pipeline:
    """Where cycles are counted from 0. `register` makes one, of (signal, name, whether it is 0 after reset)."""

    def __init__(self, register: Callable[[Signal, str, bool], Signal]) -> None:
        self.register = register

    def at(self, signal: Signal, cycle: int = 0) -> Signal:
        """`signal`, ordinary, as part of the pipeline."""
        return View(signal, Time(self, [cycle]))

    def valid(self, signal: Signal, cycle: int = 0) -> Signal:
        """The same of what says that something is there: its registers are 0 after reset."""
        return View(signal, Time(self, [cycle]), resets=True)

    def record(self, record: Fields, signal: Signal) -> dict[str, Signal]:
        """The fields of a record, of which `valid` says that it is there."""
        fields = record.unpack(signal)
        return {name: self.valid(s) if name == "valid" else self.at(s) for name, s in fields.items()}

    def first_met(self, signal: Signal, *, resets: bool = False) -> Signal:
        """The same at the cycle of what it first meets."""
        return View(signal, Time(self, [None]), resets=resets)


class Signal:
    """A value of `width` bits. Arithmetic keeps the width; extend first where growth is meant."""

    __slots__ = ("_again", "_later", "resets", "time", "value")

    def __init__(self, value: ir.Value, time: Any = None, *, resets: bool = False) -> None:
        self.value, self.time, self.resets = value, time, resets
        self._later: list[Signal] | None = None  # the signal itself, a cycle later, two ...
        self._again: Callable[[int], Signal] | None = None  # makes it anew at a later cycle, of fewer bits

    @property
    def width(self) -> int:
        return int(ir.IntegerType(self.value.type).width)

    @property
    def cycle(self) -> int:
        """Of its pipeline."""
        found = self.time.cycle if isinstance(self.time, Time) else None
        if found is None:
            raise CycleError("expected a signal that has a cycle of a pipeline, got one without")
        return int(found)

    def named(self, name: str) -> Signal:
        """The same signal, called `name` in the SystemVerilog if it stands on its own there."""
        owner = self.value.owner
        if not isinstance(owner, ir.Block):
            owner.operation.attributes["sv.namehint"] = ir.StringAttr.get(name)
        return self

    def steady(self) -> Signal:
        """The same signal, which does not change in any cycle that matters."""
        return View(self, STEADY)

    def plain(self) -> Signal:
        """The same signal as ordinary logic, which leaves the pipeline."""
        return View(self, None)

    def until(self, cycle: int) -> Signal:
        """The same signal at a later cycle."""
        wait = cycle - self.cycle
        if wait < 0:
            raise CycleError(f"expected a signal of cycle {cycle} at the latest, got one of cycle {self.cycle}")
        if not wait:
            return self
        if self._again:
            return self._again(cycle)
        owner, name = self.value.owner, "late"
        if not isinstance(owner, ir.Block):
            for key in ("sv.namehint", "name"):
                if key in owner.attributes:
                    name = ir.StringAttr(owner.attributes[key]).value
        self._later = self._later or [self]
        while len(self._later) <= wait:
            made = self.time.pipeline.register(self._later[-1], f"{name}_{len(self._later)}", self.resets)
            self._later.append(Signal(made.value, self.time.later(len(self._later)), resets=self.resets))
        return self._later[wait]

    def due(self, cycle: int) -> Signal:
        """The same signal, which must be of this cycle."""
        if self.cycle != cycle:
            raise CycleError(f"expected a signal of cycle {cycle}, got one of cycle {self.cycle}")
        return self

    def _same(self, other: Signal | int) -> Signal:
        other = const(other, self.width) if isinstance(other, int) else other
        if other.width != self.width:
            raise WidthError(f"expected operands of one width, got {self.width} and {other.width} bits")
        return other

    def _with(self, other: Signal | int, make: Callable[[ir.Value, ir.Value], ir.Value]) -> Signal:
        a, b = aligned(self, self._same(other))
        return Signal(make(a.value, b.value), met(a, b))

    def _alike(self, value: ir.Value) -> Signal:
        """A part of this signal, or what it says in another way."""
        return Signal(value, self.time, resets=self.resets)

    def __add__(self, other: Signal | int) -> Signal:
        return self._with(other, lambda a, b: comb.add([a, b]))

    def __sub__(self, other: Signal | int) -> Signal:
        return self._with(other, comb.sub)

    def __mul__(self, other: Signal | int) -> Signal:
        return self._with(other, lambda a, b: comb.mul([a, b]))

    def __and__(self, other: Signal | int) -> Signal:
        return all_of([self, self._same(other)])

    def __or__(self, other: Signal | int) -> Signal:
        return any_of([self, self._same(other)])

    def __xor__(self, other: Signal | int) -> Signal:
        return self._with(other, lambda a, b: comb.xor([a, b]))

    def __invert__(self) -> Signal:
        return self ^ ((1 << self.width) - 1)

    def __lshift__(self, other: Signal | int) -> Signal:
        return self._with(other, comb.shl)

    def __rshift__(self, other: Signal | int) -> Signal:
        return self._with(other, comb.shru)

    def sra(self, other: Signal | int) -> Signal:
        """Arithmetic shift right."""
        return self._with(other, comb.shrs)

    def compare(self, predicate: str, other: Signal | int) -> Signal:
        code = ir.IntegerAttr.get(int_type(64), _PREDICATES[predicate])
        return self._with(other, lambda a, b: comb.icmp(code, a, b))

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
        whole = high - low == self.width
        return self if whole else self._alike(comb.extract(int_type(high - low), self.value, low))

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
        sign = self._alike(comb.replicate(int_type(width - self.width), self[self.width - 1].value))
        wide = pack([self, sign])
        wide._again = lambda cycle: self.until(cycle).sext(width)
        return wide


class View(Signal):
    """Another signal, which may be driven later, at a time of its own."""

    __slots__ = ("source",)

    def __init__(self, source: Signal, time: Any, *, resets: bool = False) -> None:
        self.source = source
        super().__init__(None, time, resets=resets)

    @property
    def value(self) -> ir.Value:
        return self.source.value

    @value.setter
    def value(self, _: None) -> None:
        """It has none of its own."""


def aligned(*signals: Signal) -> tuple[Signal, ...]:
    """The signals at the cycle of the latest of them; of ordinary and steady ones: as they are."""
    if not any(type(s.time) is Time for s in signals):
        return signals
    moving = [s for s in signals if s.time is not STEADY]
    if any(s.time is None for s in moving):
        raise CycleError("expected signals of a pipeline, got ordinary logic too; say of which cycle it is")
    if len({s.time.pipeline for s in moving}) > 1:
        raise CycleError("expected signals of one pipeline, got those of two")
    if len({(id(s.time.begin), s.time.offset) for s in moving}) == 1:
        return signals
    known = [s.time.cycle for s in moving if s.time.cycle is not None]
    # Inputs that first meet each other are of the cycle in which the pipeline begins.
    latest = max(known, default=max(s.time.offset for s in moving))
    for s in moving:
        if s.time.cycle is None:
            s.time.meet(latest)
    return tuple(s if s.time is STEADY else s.until(latest) for s in signals)


def met(*signals: Signal) -> Any:
    """When something is that is made of signals of one cycle."""
    return next((s.time for s in signals if s.time is not STEADY), STEADY)


def int_type(width: int) -> ir.IntegerType:
    return ir.IntegerType.get_signless(width)


def const(value: int, width: int) -> Signal:
    """A constant; a negative value is taken in two's complement. Raises `WidthError` if it does not fit."""
    if not -(1 << (width - 1)) <= value < 1 << width:
        raise WidthError(f"expected a constant of {width} bits, got {value}")
    if value >= 1 << (width - 1):
        value -= 1 << width
    return Signal(hw.constant(ir.IntegerAttr.get(int_type(width), value)), STEADY)


def pack(parts: Sequence[Signal]) -> Signal:
    """Concatenate, lowest part first."""
    if len(parts) == 1:
        return parts[0]
    parts = aligned(*parts)
    value = comb.concat([part.value for part in reversed(parts)])
    found = Signal(value, met(*parts), resets=all(p.resets for p in parts))
    if any(p.time is STEADY for p in parts):
        found._again = lambda cycle: pack([p if p.time is STEADY else p.until(cycle) for p in parts])
    return found


def mux(condition: Signal, true: Signal, false: Signal) -> Signal:
    condition, true, false = aligned(condition, true, true._same(false))
    return Signal(comb.mux(condition.value, true.value, false.value), met(condition, true, false))


def select(entries: Sequence[Signal], index: Signal) -> Signal:
    """`entries[index]` as a tree of 2:1 multiplexers; entries past the end read as the last one."""
    level = list(entries)
    for bit in range(index.width):
        if len(level) == 1:
            break
        level += [level[-1]] * (len(level) % 2)
        level = [mux(index[bit], level[i + 1], level[i]) for i in range(0, len(level), 2)]
    return level[0]


def _of_bits(signals: Iterable[Signal], make: Callable[[list[ir.Value]], ir.Value], *, resets: bool) -> Signal:
    given = aligned(*signals)
    return given[0] if len(given) == 1 else Signal(make([s.value for s in given]), met(*given), resets=resets)


def any_of(signals: Sequence[Signal]) -> Signal:
    return _of_bits(signals, comb.or_, resets=all(s.resets for s in signals))


def all_of(signals: Sequence[Signal]) -> Signal:
    return _of_bits(signals, comb.and_, resets=any(s.resets for s in signals))


def parity(signal: Signal) -> Signal:
    """Whether an odd number of bits is 1."""
    return signal._alike(comb.parity(signal.value))


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
