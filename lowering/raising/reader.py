"""Reading a torch-level function op by op: the function and rules go in, a `Term` for every tensor comes out.

A rule says what the result of an op is, from what its operands are. An op without one is an `Unmatched`; what depends
on it is too, as far as the next linear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from lutllm.bindings import ir, source_position
from lutllm.lowering.raising.axes import Axes, are_rows, axis
from lutllm.lowering.raising.linears import module_path, sizes_of
from lutllm.lowering.raising.missing import missing

UNKNOWN = "unknown"
FLOATS = (",f32>", ",bf16>", ",f16>")  # how the types of float tensors end
DOWNSTREAM = "it reads a value that cannot be raised"
NO_ACTIVATION = "expected an activation among silu, gelu, gelu_tanh and relu, got another function of a linear"
_OPERATOR = "torch.operator"  # any op the torch dialect has no definition of
# What a term is that a lut op on floats computes, rows of channels for each token; all others are parts of these.
STRUCTURAL = ("input", "embedding", "linear", "norm", "rope", "slice", "attention", "gated", "tanh", "add")


@dataclass(frozen=True, eq=False)
class Term:
    """A value with a meaning: `kind`, the terms it is made of, the op that completes it, and what the kind needs.
    Structural terms have `channels`."""

    kind: str
    inputs: tuple[Term, ...] = ()
    op: ir.Operation | None = None
    data: Any = None
    channels: int = 0

    @property
    def structural(self) -> bool:
        return self.kind in STRUCTURAL


@dataclass(frozen=True)
class Unmatched:
    """An op that no lut op computes: its name, PyTorch module path and source line, and what was expected."""

    op: str
    module: str
    location: str | None
    expected: str

    @classmethod
    def at(cls, op: ir.Operation, expected: str) -> Unmatched:
        name = ir.StringAttr(op.attributes["name"]).value if op.name == _OPERATOR else op.name
        return cls(name, module_path(op.location) or "", source_position(op.location), expected)


class Mismatch(Exception):
    """An op whose operands no rule accepts; says what was expected."""


Value = tuple[Term, Axes]
Rule = Callable[["Reader", ir.Operation], Value | list[Value]]


class Reader:
    """Reads a function op by op. `terms` has the structural ones in order, `unmatched` every op without a meaning.

    `arguments` and `results` are what the function takes and returns. `roles` says what an integer argument is:
    "ids" of an embedding or "positions" of RoPE.
    """

    def __init__(self, function: Any, rules: Mapping[str, Rule]) -> None:
        self.rules = rules
        self.values: dict[ir.Value, Value] = {}
        self.plain: dict[ir.Value, Any] = {}  # Python numbers and lists
        self.unmatched: list[Unmatched] = []
        self.noted: set[ir.Operation] = set()
        self.terms: dict[Term, None] = {}
        self.results: list[Term] = []
        self.roles: dict[Term, str] = {}
        self.arguments = self._arguments(list(function.arguments))
        for op in function.entry_block.operations:
            self._read(op.operation)

    def _arguments(self, arguments: list[ir.Value]) -> list[Term]:
        found: list[Term] = []
        for argument in arguments:
            sizes, floating = static_sizes(argument) or [], str(argument.type).endswith(FLOATS)
            kind = argument_kind(sizes, floating)
            if kind == "mask" and any(term.kind == "mask" for term in found):
                kind = "argument"  # the first is the causal one
            row = axis("tokens", sizes[-2] if kind in ("mask", "input") else sizes[-1] if sizes else 0)
            axes = {
                "mask": ((), (), row, axis("keys", sizes[-1] if sizes else 0)),
                "integers": ((), row)[-len(sizes) :],
                "input": ((), row, axis("channel", sizes[-1] if sizes else 0))[-len(sizes) :],
            }.get(kind, _fresh(sizes))
            found.append(Term(kind, channels=sizes[-1] if kind == "input" else 0))
            self.values[argument] = (found[-1], axes)
        return found

    def use(self, term: Term, role: str) -> None:
        """Note what an integer argument is read as."""
        before = self.roles.setdefault(term, role)
        if before != role:
            raise Mismatch(f"expected an input of {role} alone, got one that is read as {before} too")

    def embedded(self, term: Term) -> tuple[Term, ...]:
        """What an embedding of integers reads: ids, which are the first integers of the function; or, of any others,
        which are positions, both."""
        ids = next(argument for argument in self.arguments if argument.kind == "integers")
        first = term.inputs[0] if term.inputs else term
        self.use(ids, "ids")
        if term is ids:
            return (ids,)
        self.use(first, "positions")
        return ids, first

    def _read(self, op: ir.Operation) -> None:
        if op.name.startswith("torch.constant."):
            self.plain[op.result] = op.attributes["value"].value if "value" in op.attributes else None
        elif op.name == "torch.aten.split_with_sizes":
            self.plain[op.result] = op  # what the unpacking of the list reads
        elif op.name == "torch.prim.ListConstruct":
            self.plain[op.result] = [self.plain.get(v, v) for v in op.operands]
        elif op.name == "ml_program.global_load_const":
            self.plain[op.result] = ir.FlatSymbolRefAttr(op.attributes["global"]).value
        elif op.name == "torch.vtensor.literal" and static_sizes(op.result) == []:
            number = float(ir.DenseFPElementsAttr(op.attributes["value"])[0])
            self.values[op.result] = (Term("number", op=op, data=number), ())
        elif op.name == "torch_c.from_builtin_tensor":
            term = Term("parameter", op=op, data=self.plain.get(op.operands[0]))
            self.values[op.result] = (term, tuple(axis("channel", n) for n in static_sizes(op.result) or ()))
        elif op.name in ("func.return", "return"):
            for operand in op.operands:
                self._result(op, *self.values.get(operand, (Term("constant"), ())))
        elif not op.name.startswith("torch.aten._assert"):
            self._apply(op)

    def _result(self, op: ir.Operation, term: Term, axes: Axes) -> None:
        self.results.append(term)
        if term.kind != UNKNOWN and not (term.structural and are_rows(axes, term.channels)):
            shape = [prod(a.size for a in dimension) for dimension in axes]
            expected = f"expected rows of all channels of one token each as a result, got {readable(term)} {shape}"
            self.note(term.op or op, expected)

    def _apply(self, op: ir.Operation) -> None:
        """Give the results of an op a meaning, or note that it has none."""
        name = op.name.removeprefix("torch.").removeprefix("aten.")
        rule = self.rules.get(name)
        if rule is None:
            self._unmatched(op, missing(op, name))
            return
        try:
            found = rule(self, op)
            for result, (term, axes) in zip(op.results, found if isinstance(found, list) else [found], strict=True):
                self.values[result] = term, axes
                for each in (*term.inputs, term):
                    if each.structural and each.op is not None:
                        self.terms.setdefault(each)
        except Mismatch as problem:
            read = [self.values[v][0] for v in _tensors(self, op)]
            for term in read:
                if term.kind == "expression" and term.op is not None:
                    self.note(term.op, NO_ACTIVATION)
            follows = any(_is_unknown(term) or term.kind == "expression" for term in read)
            self._unmatched(op, DOWNSTREAM if follows else str(problem))

    def note(self, op: ir.Operation, expected: str) -> None:
        """Note, once, that an op's value cannot be raised."""
        if op not in self.noted:
            self.noted.add(op)
            self.unmatched.append(Unmatched.at(op, expected))

    def _unmatched(self, op: ir.Operation, expected: str) -> None:
        self.note(op, expected)
        for result in op.results:
            self.values[result] = (Term(UNKNOWN, op=op), _fresh(static_sizes(result)))

    def value(self, op: ir.Operation, i: int) -> Value:
        found = self.values.get(op.operands[i])
        if found is None:
            raise Mismatch(f"expected a tensor as operand {i}, got {op.operands[i].type}")
        return found

    def number(self, op: ir.Operation, i: int) -> Any:
        """A constant operand: a number, a list, or None."""
        value = op.operands[i]
        if value not in self.plain:
            raise Mismatch(f"expected a constant as operand {i}, got a computed value")
        return self.plain[value]


def _is_unknown(term: Term) -> bool:
    """Whether a value is of unknown meaning, or part of nothing yet and made of such values."""
    return term.kind == UNKNOWN or (not term.structural and any(_is_unknown(t) for t in term.inputs))


def readable(term: Term) -> str:
    """What a message calls a term."""
    known = {"argument": "another input of the model", "input": "an input", UNKNOWN: "a value not raised"}
    return known.get(term.kind, term.kind.replace("_", " "))


def argument_kind(sizes: Sequence[int], floating: bool) -> str:
    """What an argument of a model is by its shape: integers [1, T] are ids or positions, floats [1, 1, T, T] a mask,
    [1, T, channels] an input; anything else an argument. The 1 of ids and inputs may be left out."""
    leading, last = list(sizes[:-1]), sizes[-1] if sizes else 0
    if not floating:
        return "integers" if leading in ([], [1]) and last else "argument"
    if leading == [1, 1, last]:
        return "mask"
    return "input" if len(sizes) == 2 or (len(sizes) == 3 and sizes[0] == 1) else "argument"


def _tensors(reader: Reader, op: ir.Operation) -> list[ir.Value]:
    """The tensors an op reads, those in lists too."""
    found: list[ir.Value] = []
    for operand in op.operands:
        plain = reader.plain.get(operand)
        found += [v for v in plain if isinstance(v, ir.Value)] if isinstance(plain, list) else [operand]
    return [v for v in found if v in reader.values]


def static_sizes(value: ir.Value) -> list[int] | None:
    """The sizes of a !torch.vtensor; None where they are not all known."""
    sizes, _ = sizes_of(value) or ([None], "")
    known = [size for size in sizes if size is not None]
    return known if len(known) == len(sizes) else None


def _fresh(sizes: Sequence[int] | None) -> Axes:
    """Axes of a value nothing is known of."""
    return tuple(axis(f"unknown.{i}", size) for i, size in enumerate(sizes or ()))
