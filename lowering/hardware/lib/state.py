"""What keeps count: nested loops, credits, state machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from lutllm.lowering.hardware.lib.circt import Module, Register
from lutllm.lowering.hardware.lib.circt_bindings import ir
from lutllm.lowering.hardware.lib.signal import Signal, WidthError, all_of, any_of, const, mux
from lutllm.numerics import bits_for

CREDIT = 1  # cycles from giving one until it may be taken
Flags = Mapping[str, Signal]
# Of a loop nest, outermost loop first: its name, and its count or what makes that of flags of the loops around it,
# `NAME_last` and `NAME_first`.
Levels = Sequence[tuple[str, "Signal | Callable[[Flags], Signal]"]]


class Nest(NamedTuple):
    """Where nested loops stand, by the name of the loop: the iteration, whether it is the last, the first."""

    at: dict[str, Signal]
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

    name: str
    is_first: Signal
    is_last: Signal
    registered: bool

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
        counts = [upcoming(m, counted(dict(zip(self.asked, bits, strict=True)))) for bits in choices]
        self._counts = [one for one in counts if one is not None]
        known = {f"{loop.name}_first" for loop in around} | {f"{loop.name}_last" for loop in around if loop.registered}
        self.registered = len(self._counts) == len(counts) and set(self.asked) <= known
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
        data, enable, *reset = (Signal(value) for value in op.operands if isinstance(value.type, ir.IntegerType))
        following = mux(enable, data, signal)
        return mux(reset[0], reset[1], following) if reset else following
    if not op.name.startswith("comb."):
        return None
    operands = [operand for value in op.operands if (operand := upcoming(m, Signal(value))) is not None]
    if len(operands) < len(op.operands):
        return None
    made = op.clone()
    for i, operand in enumerate(operands):
        made.operands[i] = operand.value
    return Signal(made.results[0])


def credit(m: Module, name: str, most: int, *, give: Signal, take: Signal, initial: int = 0) -> Signal:
    """A counter of what may be taken, `most` at a time, for each bit of `give`: up at that, down at `take`. Returns,
    from a register, whether there is any of all."""
    taken, kept, bits, begin = [], [], bits_for(most + 1), int(initial > 0)
    for i, given in enumerate(give.chunks(1)):
        count, there = m.state(bits, f"{name}_{i}", reset=initial), m.state(1, f"{name}_there_{i}", reset=begin)
        up_down(count, given, take)
        taken.append(mux(given, there.signal, count.signal.ne(1)))
        kept.append(there.signal | given)
        there.set(mux(take, taken[-1], kept[-1]))
    if give.width == 1:
        return there.signal
    return m.reg(mux(take, all_of(taken), all_of(kept)), f"all_{name}", reset=begin)


def up_down(count: Register, up: Signal, down: Signal) -> None:
    """Let `count` go up, down, or, at both, stay."""
    count.set(mux(up, count.signal + 1, count.signal - 1), up ^ down)


class FillLevel:
    """How many of `depth` words a memory holds: registers `count`, whether there are `any`, whether there is `room`."""

    def __init__(self, m: Module, depth: int) -> None:
        self._count = m.state(bits_for(depth + 1), "count", reset=0)
        self._any, self._room = m.state(1, "filled", reset=0), m.state(1, "spare", reset=1)
        self.depth, self.count, self.any, self.room = depth, self._count.signal, self._any.signal, self._room.signal

    def move(self, push: Signal, pop: Signal) -> None:
        up_down(self._count, push, pop)
        self._any.set(push | self.count.ne(1), push ^ pop)
        self._room.set(pop | self.count.ne(self.depth - 1), push ^ pop)


def first_of(choices: Sequence[tuple[Signal, Signal]]) -> tuple[Signal, Signal]:
    """(Whether any of the conditions holds, the value of the first that does), as a tree."""
    level = list(choices)
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        rest = level[len(level) & ~1 :]
        level = [(a | b, mux(a, value, other)) for (a, value), (b, other) in pairs] + rest
    return level[0]


class Fsm:
    """A state machine, at first in the first of `states`. Its moves are said by `go`, as they come: of several that
    apply, the last one said counts. `close` once all are said."""

    def __init__(self, m: Module, name: str, states: Sequence[str], *, by: Signal | None = None) -> None:
        self.states, self._moves = tuple(states), list[tuple[Signal, str]]()
        self.state = m.state(bits_for(len(states)), name, reset=0, by=by)

    def at(self, *states: str) -> Signal:
        """Whether it is in this state, or in one of these."""
        found = [self.state.signal.eq(self.states.index(s)).named(f"at_{s}") for s in states]
        return found[0] if len(found) == 1 else any_of(found)

    def go(self, state: str, when: Signal) -> None:
        if state not in self.states:
            raise ValueError(f"expected a state among {', '.join(self.states)}, got {state}")
        self._moves.append((when, state))

    def close(self) -> None:
        width = self.state.signal.width
        moves = [(when, const(self.states.index(state), width)) for when, state in reversed(self._moves)]
        when, state = first_of(moves)
        self.state.set(state, when)
