"""MLIR text of one function, written as Python expressions: `Value`s with operators in, arith/scf/vector/llvm ops out.

Types are MLIR's spelling ("i64", "vector<16xi32>"). Python integers become constants of the other operand's type, and
`>>` is arithmetic. Memory is bytes at a pointer: offsets are i64 values or integers, in bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

PTR = "!llvm.ptr"
I64 = "i64"
_VECTOR = re.compile(r"vector<(\d+)x(i\d+)>")


def vector(lanes: int, element: str) -> str:
    return f"vector<{lanes}x{element}>"


def element_of(type_: str) -> str:
    match = _VECTOR.fullmatch(type_)
    return match[2] if match else type_


def lanes_of(type_: str) -> int:
    """Lanes of a vector type, 0 of a scalar."""
    match = _VECTOR.fullmatch(type_)
    return int(match[1]) if match else 0


def bytes_of(type_: str) -> int:
    """Bytes of a scalar or vector type in memory."""
    return 8 if type_ == PTR else int(element_of(type_)[1:]) // 8 * max(lanes_of(type_), 1)


def _binary(op: str) -> Callable[[Value, Value | int], Value]:
    """A method: the op on a value and another of its type."""

    def method(self: Value, other: Value | int) -> Value:
        return self.code.binary(op, self, other)

    return method


@dataclass(frozen=True)
class Value:
    """An SSA value of a `Code`."""

    code: Code = field(repr=False, compare=False)
    name: str
    type: str

    __add__ = __radd__ = _binary("arith.addi")
    __sub__ = _binary("arith.subi")
    __mul__ = __rmul__ = _binary("arith.muli")
    __and__ = _binary("arith.andi")
    __or__ = _binary("arith.ori")
    __lshift__ = _binary("arith.shli")
    __rshift__ = _binary("arith.shrsi")
    __floordiv__ = _binary("arith.divui")
    __mod__ = _binary("arith.remui")
    shift_right_logical = _binary("arith.shrui")
    minimum = _binary("arith.minsi")
    maximum = _binary("arith.maxsi")

    def __rsub__(self, other: int) -> Value:
        return self.code.constant(other, self.type) - self

    def compare(self, predicate: str, other: Value | int) -> Value:
        return self.code.compare(predicate, self, other)

    def select(self, yes: Value | int, no: Value | int) -> Value:
        return self.code.select(self, yes, no)

    def to(self, element: str) -> Value:
        """Sign-extended or truncated to another element type."""
        return self.code.resize(self, element, "arith.extsi")

    def unsigned_to(self, element: str) -> Value:
        return self.code.resize(self, element, "arith.extui")

    def splat(self, lanes: int) -> Value:
        type_ = vector(lanes, self.type)
        return self.code.emit(f"vector.broadcast {self.name} : {self.type} to {type_}", type_)

    def bitcast(self, type_: str) -> Value:
        return self.code.emit(f"vector.bitcast {self.name} : {self.type} to {type_}", type_)

    def reduce(self, kind: str) -> Value:
        """All lanes as one: `add`, `minsi`, `maxsi`."""
        element = element_of(self.type)
        return self.code.emit(f"vector.reduction <{kind}>, {self.name} : {self.type} into {element}", element)


@dataclass
class Loop:
    """What the body of a loop sees, and after it the values it carried out."""

    index: Value
    carried: list[Value]
    code: Code
    results: list[Value] = field(default_factory=list)
    _yielded: list[Value] | None = None

    def next(self, *values: Value) -> None:
        """The carried values of the next iteration."""
        self._yielded = list(values)


class Code:
    """The text of one function while it is written. `arguments` are its parameters by name."""

    def __init__(self, name: str, arguments: Sequence[tuple[str, str]]) -> None:
        self.name = name
        self.types = [type_ for _, type_ in arguments]
        self.arguments = {label: Value(self, f"%{label}", type_) for label, type_ in arguments}
        self._lines: list[str] = []
        self._constants: dict[tuple[int, str], Value] = {}
        self._head: list[str] = []
        self._count = 0

    def text(self) -> str:
        """The whole function, never inlined."""
        arguments = ", ".join(
            f"{a.name}: {a.type}" + " {llvm.noalias}" * (a.type == PTR) for a in self.arguments.values()
        )
        body = "\n".join((*self._head, *self._lines))
        return f'func.func @{self.name}({arguments}) attributes {{passthrough = ["noinline"]}} {{\n{body}\nreturn\n}}\n'

    def line(self, text: str) -> None:
        self._lines.append(text)

    def emit(self, text: str, type_: str) -> Value:
        name = self._fresh()
        self.line(f"{name} = {text}")
        return Value(self, name, type_)

    def constant(self, value: int, type_: str) -> Value:
        """A constant at the top of the function; splat where the type is a vector."""
        key = value, type_
        if key not in self._constants:
            literal = f"dense<{value}>" if lanes_of(type_) else str(value)
            name = self._fresh()
            self._head.append(f"{name} = arith.constant {literal} : {type_}")
            self._constants[key] = Value(self, name, type_)
        return self._constants[key]

    def pattern(self, values: Sequence[int], element: str) -> Value:
        """A constant vector."""
        type_ = vector(len(values), element)
        name = self._fresh()
        self._head.append(f"{name} = arith.constant dense<{list(values)}> : {type_}")
        return Value(self, name, type_)

    def _like(self, value: Value | int, other: Value) -> Value:
        if isinstance(value, int):
            return self.constant(value, other.type)
        if lanes_of(other.type) and not lanes_of(value.type):
            return value.splat(lanes_of(other.type))
        return value

    def binary(self, op: str, a: Value, b: Value | int) -> Value:
        b = self._like(b, a)
        return self.emit(f"{op} {a.name}, {b.name} : {a.type}", a.type)

    def compare(self, predicate: str, a: Value, b: Value | int) -> Value:
        b = self._like(b, a)
        lanes = lanes_of(a.type)
        return self.emit(
            f"arith.cmpi {predicate}, {a.name}, {b.name} : {a.type}", vector(lanes, "i1") if lanes else "i1"
        )

    def select(self, condition: Value, yes: Value | int, no: Value | int) -> Value:
        model = yes if isinstance(yes, Value) else no
        assert isinstance(model, Value)
        a, b = self._like(yes, model), self._like(no, model)
        types = f"{condition.type}, {a.type}" if lanes_of(condition.type) else a.type
        return self.emit(f"arith.select {condition.name}, {a.name}, {b.name} : {types}", a.type)

    def resize(self, value: Value, element: str, extend: str) -> Value:
        have, lanes = int(element_of(value.type)[1:]), lanes_of(value.type)
        want = int(element[1:])
        if have == want:
            return value
        type_ = vector(lanes, element) if lanes else element
        op = extend if want > have else "arith.trunci"
        return self.emit(f"{op} {value.name} : {value.type} to {type_}", type_)

    def intrinsic(self, name: str, type_: str, *operands: Value) -> Value:
        names = ", ".join(o.name for o in operands)
        types = ", ".join(o.type for o in operands)
        return self.emit(f'llvm.call_intrinsic "{name}"({names}) : ({types}) -> {type_}', type_)

    # --- memory

    def at(self, base: Value, offset: Value | int) -> Value:
        """The pointer `offset` bytes after `base`."""
        offset = self.constant(offset, I64) if isinstance(offset, int) else offset
        return self.emit(f"llvm.getelementptr {base.name}[{offset.name}] : ({PTR}, i64) -> {PTR}, i8", PTR)

    def load(self, base: Value, offset: Value | int, type_: str) -> Value:
        """Any type from `offset` bytes after `base`; scalars are aligned, vectors need not be."""
        address = self.at(base, offset)
        align = bytes_of(element_of(type_))
        return self.emit(f"llvm.load {address.name} {{alignment = {align} : i64}} : {PTR} -> {type_}", type_)

    def store(self, value: Value, base: Value, offset: Value | int) -> None:
        address = self.at(base, offset)
        align = bytes_of(element_of(value.type))
        self.line(f"llvm.store {value.name}, {address.name} {{alignment = {align} : i64}} : {value.type}, {PTR}")

    def store_first(self, value: Value, count: Value, base: Value, offset: Value | int) -> None:
        """Store the first `count` (i64) lanes only."""
        lanes = lanes_of(value.type)
        mask = self.emit(f"vector.create_mask {self.index(count).name} : vector<{lanes}xi1>", vector(lanes, "i1"))
        address = self.at(base, offset)
        align = bytes_of(element_of(value.type))
        self.line(
            f"llvm.intr.masked.store {value.name}, {address.name}, {mask.name} {{alignment = {align} : i32}} : "
            f"{value.type}, {mask.type} into {PTR}"
        )

    def index(self, value: Value) -> Value:
        return self.emit(f"arith.index_cast {value.name} : i64 to index", "index")

    def prefetch(self, base: Value, offset: Value) -> None:
        """Fetch the line there into the second cache; it need not exist."""
        hints = "rw = 0 : i32, hint = 2 : i32, cache = 1 : i32"
        self.line(f'"llvm.intr.prefetch"({self.at(base, offset).name}) <{{{hints}}}> : ({PTR}) -> ()')

    # --- control

    @contextmanager
    def loop(self, start: Value | int, stop: Value | int, *carried: Value, step: int = 1) -> Iterator[Loop]:
        """A counted loop; `carried` values enter `loop.carried`, leave by `loop.next(...)`, end in `loop.results`."""
        ends = [self.constant(v, I64) if isinstance(v, int) else v for v in (start, stop, step)]
        index, result = self._fresh(), self._fresh()
        inside = [Value(self, self._fresh(), value.type) for value in carried]
        loop = Loop(Value(self, index, I64), inside, self)
        arguments = ", ".join(f"{i.name} = {c.name}" for i, c in zip(inside, carried, strict=True))
        types = ", ".join(c.type for c in carried)
        head = f"scf.for {index} = {ends[0].name} to {ends[1].name} step {ends[2].name}"
        if carried:
            self.line(f"{result}:{len(carried)} = {head} iter_args({arguments}) -> ({types}) : i64 {{")
        else:
            self.line(f"{head} : i64 {{")
        yield loop
        if carried:
            assert loop._yielded is not None and len(loop._yielded) == len(carried)
            self.line(f"scf.yield {', '.join(v.name for v in loop._yielded)} : {types}")
        self.line("}")
        loop.results = [Value(self, f"{result}#{i}", value.type) for i, value in enumerate(carried)]

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        self.line(f"scf.if {condition.name} {{")
        yield
        self.line("}")

    def _fresh(self) -> str:
        self._count += 1
        return f"%v{self._count}"


def round_shift(value: Value, shift: Value | int) -> Value:
    """`lutllm.numerics.round_shift`; `shift` is not negative."""
    if isinstance(shift, int):
        return value if shift == 0 else (value + (1 << (shift - 1))) >> shift
    one = value.code.constant(1, value.type)
    return (value + (one << shift).shift_right_logical(1)) >> shift


def saturate(value: Value, bits: int) -> Value:
    return value.maximum(-(1 << (bits - 1))).minimum((1 << (bits - 1)) - 1)


def rescale(value: Value, shift: Value | int) -> Value:
    """`value << shift`, or rounded to the right where `shift` is negative."""
    if isinstance(shift, int):
        return value << shift if shift >= 0 else round_shift(value, -shift)
    return round_shift(value << shift.maximum(0), (0 - shift).maximum(0))
