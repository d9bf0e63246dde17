"""`linalg.generic` written as a Python function of scalars: tensors in, one tensor out.

Dimensions go by letters, those of tokens, however many, by a dot: rows are `.pbrw`, codes `prn`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lutllm.bindings import arith, ir, linalg, tensor

_LESS = 2  # arith's number of `slt`


@dataclass(frozen=True)
class Scalar:
    """An integer in a body. A Python integer beside it becomes a constant of its type; `>>` is arithmetic."""

    value: ir.Value

    def op(self, name: str, other: Scalar | float) -> Scalar:
        type_ = self.value.type
        right = other.value if isinstance(other, Scalar) else arith.constant(type_, other)
        return Scalar(ir.Operation.create(f"arith.{name}", results=[type_], operands=[self.value, right]).result)

    def __add__(self, other: Scalar | int) -> Scalar:
        return self.op("addi", other)

    def __sub__(self, other: Scalar | int) -> Scalar:
        return self.op("subi", other)

    def __mul__(self, other: Scalar | int) -> Scalar:
        return self.op("muli", other)

    def __and__(self, other: Scalar | int) -> Scalar:
        return self.op("andi", other)

    def __or__(self, other: Scalar | int) -> Scalar:
        return self.op("ori", other)

    def __lshift__(self, other: Scalar | int) -> Scalar:
        return self.op("shli", other)

    def __rshift__(self, other: Scalar | int) -> Scalar:
        return self.op("shrsi", other)

    def __floordiv__(self, other: int) -> Scalar:
        return self.op("divui", other)

    def clamp(self, low: int, high: int) -> Scalar:
        return self.op("maxsi", low).op("minsi", high)

    def saturate(self, bits: int) -> Scalar:
        return self.clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)

    def magnitude(self) -> Scalar:
        return self.op("maxsi", self * -1)

    def if_below(self, limit: int, then: Scalar, otherwise: Scalar) -> Scalar:
        less = arith.cmpi(_LESS, self.value, arith.constant(self.value.type, limit))
        return Scalar(arith.select(less, then.value, otherwise.value))

    def to(self, element: str, *, unsigned: bool = False) -> Scalar:
        """In another type; a narrower one keeps the low bits."""
        have, want = self.value.type, ir.Type.parse(element)
        sign = "ui" if unsigned else "si"
        if element == "index" or str(have) == "index":
            name = "index_castui" if unsigned else "index_cast"
        elif element == "f32":
            name = "sitofp"
        else:
            name = "trunci" if want.width < have.width else f"ext{sign}"
        return self if have == want else Scalar(ir.Operation.create(f"arith.{name}", [want], [self.value]).result)

    def bitcast(self, element: str) -> Scalar:
        return Scalar(arith.bitcast(ir.Type.parse(element), self.value))

    def round_shift(self, shift: Scalar | int) -> Scalar:
        """Divided by 2**shift, halves rounded up; shift >= 0."""
        if isinstance(shift, int):
            return (self + (1 << (shift - 1))) >> shift if shift else self
        one = Scalar(arith.constant(self.value.type, 1))
        return (self + (one << shift).op("shrui", 1)) >> shift  # 2**0 >> 1 is 0


At = Callable[[str], list[Scalar]]
Body = Callable[..., Scalar]  # of `At` and the scalars of inputs, and of the result so far where one is reduced


class Tokens:
    """The dimensions of tokens of a value that has `own` others behind them."""

    def __init__(self, value: ir.Value, own: int) -> None:
        self.rank = value.type.rank - own
        self.sizes = list(value.type.shape)[: self.rank]
        index = ir.IndexType.get()
        self.dynamic = [
            tensor.dim(value, arith.constant(index, i)) for i in range(self.rank) if value.type.is_dynamic_dim(i)
        ]

    def generic(
        self,
        maps: str,
        inputs: Sequence[ir.Value],
        element: str,
        body: Body,
        *,
        start: int | ir.Value = 0,
        **sizes: int,
    ) -> ir.Value:
        """One loop for each letter of `maps`, as `.p,pa->.p`; letters that the result lacks are reduced, from `start`
        on. `at(LETTERS)` gives a body the indices; `sizes` are those that no input shows."""
        *reads, write = maps.replace("->", ",").split(",")
        for letters, value in zip(reads, inputs, strict=True):
            sizes |= dict(zip(reversed(letters.strip(".")), reversed(value.type.shape), strict=False))
        reduced = [letter for letter in dict.fromkeys("".join(reads)) if letter not in f"{write}."]
        order = [*range(self.rank), *write.strip("."), *reduced]
        type_ = ir.RankedTensorType.get([*self.sizes, *(sizes[c] for c in write[1:])], ir.Type.parse(element))
        if isinstance(start, int):
            initial = ir.Operation.create("tensor.empty", [type_], self.dynamic).result
            if reduced:
                initial = linalg.fill(arith.constant(type_.element_type, start), outs=[initial])
        else:
            initial = start
        positions = {letter: order.index(letter) for letter in order if isinstance(letter, str)}

        def dims(letters: str) -> list[int]:
            return [i for c in letters for i in (range(self.rank) if c == "." else [positions[c]])]

        def affine(letters: str) -> ir.Attribute:
            exprs = [ir.AffineDimExpr.get(i) for i in dims(letters)]
            return ir.AffineMapAttr.get(ir.AffineMap.get(len(order), 0, exprs))

        kinds = ["reduction" if letter in reduced else "parallel" for letter in order]
        made = linalg.GenericOp(
            [type_],
            list(inputs),
            [initial],
            ir.ArrayAttr.get([affine(letters) for letters in (*reads, write)]),
            ir.ArrayAttr.get([ir.Attribute.parse(f"#linalg.iterator_type<{kind}>") for kind in kinds]),
        )
        block = made.regions[0].blocks.append(*(value.type.element_type for value in (*inputs, initial)))
        with ir.InsertionPoint(block):

            def at(letters: str) -> list[Scalar]:
                return [Scalar(linalg.IndexOp(i).result) for i in dims(letters)]

            scalars = [Scalar(argument) for argument in block.arguments]
            linalg.YieldOp([body(at, *(scalars if reduced else scalars[:-1])).value])
        return made.results[0]

    def pairs(self, value: ir.Value) -> ir.Value:
        """[..., K] as [..., P, 2]."""
        channels, element = value.type.shape[-1], value.type.element_type
        type_ = ir.RankedTensorType.get([*self.sizes, channels // 2, 2], element)
        groups = [*([i] for i in range(self.rank)), [self.rank, self.rank + 1]]
        return tensor.expand_shape(type_, value, groups, self.dynamic, type_.shape)

    def pick(self, value: ir.Value, **where: int) -> ir.Value:
        """One index in some of the last dimensions, `d1` the last, `d2` the one before: a value without them."""
        chosen = {value.type.rank - int(name[1:]): index for name, index in where.items()}
        shape = list(value.type.shape)
        kept = [size for i, size in enumerate(shape) if i not in chosen]
        dynamic = self.dynamic if any(map(value.type.is_dynamic_dim, range(value.type.rank))) else []
        return tensor.extract_slice(
            ir.RankedTensorType.get(kept, value.type.element_type),
            value,
            [],
            dynamic,
            [],
            [chosen.get(i, 0) for i in range(len(shape))],
            [1 if i in chosen else size for i, size in enumerate(shape)],
            [1] * len(shape),
        )


def read(value: ir.Value, *indices: Scalar | int) -> Scalar:
    """The element of a tensor at these indices."""
    index = ir.IndexType.get()
    return Scalar(tensor.extract(value, [arith.constant(index, i) if isinstance(i, int) else i.value for i in indices]))
