"""Wires, which are driven later, and bundles: ports of several signals that are connected by one name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lutllm.lowering.hardware.lib.circt_bindings import ir
from lutllm.lowering.hardware.lib.signal import Signal, WidthError, aligned, int_type


class _Driven(Signal):
    """What a wire carries: its driver, once it has one."""

    __slots__ = ("_value", "driver")
    driver: Signal | None

    @property
    def value(self) -> ir.Value:
        return self._value if self.driver is None else self.driver.value

    @value.setter
    def value(self, value: ir.Value) -> None:
        self._value, self.driver = value, None


class Wire:
    """A signal used before it is driven (`ready` against the data flow); `assign` drives it, once."""

    def __init__(self, width: int) -> None:
        self._cast = ir.Operation.create("builtin.unrealized_conversion_cast", results=[int_type(width)], operands=[])
        self.signal = _Driven(self._cast.results[0])

    @property
    def driven(self) -> bool:
        return self.signal.driver is not None

    def assign(self, value: Signal) -> None:
        if value.width != self.signal.width:
            raise WidthError(f"expected {self.signal.width} bits, got {value.width}")
        self._cast.results[0].replace_all_uses_with(value.value)
        self._cast.operation.erase()
        self.signal.driver = value


class Link:
    """One end of a bundle inside a module: its signals as attributes. Those of `back` go against the others, and are
    driven by who takes the bundle: an instance that it is connected to, or `drive`."""

    def __init__(self, forward: Mapping[str, Signal], back: Mapping[str, Wire] | None = None) -> None:
        self.forward = dict(zip(forward, aligned(*forward.values()), strict=True))
        self.back = dict(back or {})

    def __getattr__(self, name: str) -> Signal:
        forward, back = self.__dict__.get("forward", {}), self.__dict__.get("back", {})
        if name in forward:
            return forward[name]
        if name in back:
            return back[name].signal
        raise AttributeError(name)

    def drive(self, **back: Signal) -> None:
        for name, signal in back.items():
            self.back[name].assign(signal)


@dataclass(frozen=True)
class Bundle:
    """A port of several signals, by name their bits: `forward` go the way of the port, `back` against it. A signal is
    called like the port and itself, with `_` between; `plain` like the port alone; those of `bare` like themselves."""

    forward: dict[str, int]
    back: dict[str, int] = field(default_factory=dict)
    plain: str = ""
    bare: bool = False
    kind: type[Link] = Link

    def port(self, name: str, signal: str) -> str:
        return signal if self.bare else name if signal == self.plain else f"{name}_{signal}"

    def signals(self, name: str, *, back: bool = False) -> dict[str, str]:
        """What its signals are called at a port, by their names."""
        return {signal: self.port(name, signal) for signal in (self.back if back else self.forward)}

    def link(self, forward: Mapping[str, Signal], back: Mapping[str, Wire] | None = None) -> Any:
        found = self.kind.__new__(self.kind)
        Link.__init__(found, forward, {n: Wire(bits) for n, bits in self.back.items()} if back is None else back)
        return found


Ports = Mapping[str, Any]  # of each its bits, or a bundle


def bundles(ports: Ports) -> dict[str, Bundle]:
    return {name: kind if isinstance(kind, Bundle) else Bundle({"": kind}) for name, kind in ports.items()}


def flat(ports: dict[str, Bundle], against: dict[str, Bundle]) -> dict[str, int]:
    """The signals of ports, and those that come back from others, with their bits."""
    found = {kind.port(name, n): bits for name, kind in ports.items() for n, bits in kind.forward.items()}
    return found | {kind.port(name, n): bits for name, kind in against.items() for n, bits in kind.back.items()}


def linked(given: Any) -> Link:
    return Link({"": given}) if isinstance(given, Signal) else given


def opened(link: Link) -> Any:
    """A link, or the signal of a port that is one."""
    return link.forward[""] if list(link.forward) == [""] else link


def wires(widths: dict[str, int]) -> dict[str, Wire]:
    return {name: Wire(bits) for name, bits in widths.items()}
