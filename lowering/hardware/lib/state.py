"""What keeps count: nested loops, credits, state machines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lutllm.lowering.hardware.lib.circt import Module, Register
from lutllm.lowering.hardware.lib.signal import Signal, any_of, const, mux
from lutllm.numerics import bits_for

CREDIT = 1  # cycles from giving one until it may be taken
Levels = Sequence[tuple[str, "Signal | Callable[..., Signal]"]]  # of a loop nest: name and count, outermost first


def loop_nest(m: Module, step: Signal, levels: Levels) -> tuple[dict[str, Signal], dict[str, Signal]]:
    """Nested counters, outermost first, moving one iteration at each `step`; returns (index, last) by name.

    A level's count is a signal, or a function of the outer levels' (index, last). After the last iteration of all
    levels the nest is back at its first.
    """
    index: dict[str, Signal] = {}
    last: dict[str, Signal] = {}
    states: dict[str, Register] = {}
    for name, count in levels:
        count = count(index, last) if callable(count) else count
        states[name] = m.state(count.width, f"{name}_index", reset=0)
        index[name] = states[name].signal
        last[name] = index[name].eq(count - 1).named(f"{name}_last")
    enable = step
    for name, _ in reversed(levels):
        states[name].set(mux(last[name], const(0, index[name].width), index[name] + 1), enable)
        enable = enable & last[name]
    return index, last


def credit(m: Module, name: str, most: int, *, give: Signal, take: Signal, initial: int = 0) -> Signal:
    """A counter of what may be taken, `most` at a time: up at `give`, down at `take`. Returns whether there is any."""
    bits = bits_for(most + 1)
    count = m.state(bits, name, reset=initial)
    count.set(count.signal + mux(give, const(1, bits), const(-1, bits)), give ^ take)
    return count.signal.ne(0).named(f"{name}_there")


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
        following = self.state.signal
        for when, state in self._moves:
            following = mux(when, const(self.states.index(state), following.width), following)
        self.state.set(following)
