"""Reading a torch-level function op by op: the function and rules go in, a `Term` for every tensor comes out.

A rule says what the result of an op is, from what its operands are. An op without one is an `Unmatched`; what depends
on it is too, as far as the next linear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from lutllm.bindings import ir, source_position
from lutllm.lowering.torch_ir.axes import Axes, axis
from lutllm.lowering.torch_ir.linears import module_path, sizes_of

UNKNOWN = "unknown"
DOWNSTREAM = "it reads a value that cannot be raised"
NO_PATTERN = "expected an op of RMSNorm, RoPE, attention, SiLU or a residual, got another; no lut op computes it"
NO_TORCH_OP = "torch-mlir does not know this op: rewrite this part of the model with other ops"
_OPERATOR = "torch.operator"  # any op the torch dialect has no definition of


@dataclass(frozen=True, eq=False)
class Term:
    """A value with a meaning: `kind`, the terms it is made of, the op that completes it, and what the kind needs."""

    kind: str
    inputs: tuple[Term, ...] = ()
    op: ir.Operation | None = None
    data: Any = None


@dataclass(frozen=True)
class Unmatched:
    """An op that is no part of a decoder: its name, PyTorch module path and source line, and what was expected."""

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
Rule = Callable[["Reader", ir.Operation], Value]


class Reader:
    """Reads a function op by op. `terms` has every tensor, `unmatched` every op without a meaning."""

    def __init__(self, function: Any, rules: Mapping[str, Rule]) -> None:
        self.rules = rules
        self.values: dict[ir.Value, Value] = {}
        self.plain: dict[ir.Value, Any] = {}  # Python numbers and lists
        self.unmatched: list[Unmatched] = []
        self.result: Term | None = None
        self._arguments(list(function.arguments))
        for op in function.entry_block.operations:
            self._read(op.operation)

    def _arguments(self, arguments: list[ir.Value]) -> None:
        """Token ids, their positions and the causal mask, in this order; more are not known."""
        for argument, kind in zip_longest(arguments, ("ids", "positions", "mask"), fillvalue=None):
            if argument is None:
                return
            sizes = static_sizes(argument) or []
            tokens = sizes[-1] if sizes else 0
            row = axis("tokens", tokens)
            if kind == "mask" and sizes == [1, 1, tokens, tokens]:
                axes: Axes = ((), (), row, axis("keys", tokens))
            else:
                axes = ((), row) if sizes == [1, tokens] else _fresh(sizes)
            self.values[argument] = (Term(kind or "argument"), axes)

    def _read(self, op: ir.Operation) -> None:
        if op.name.startswith("torch.constant."):
            self.plain[op.result] = op.attributes["value"].value if "value" in op.attributes else None
        elif op.name == "torch.prim.ListConstruct":
            self.plain[op.result] = [self.plain.get(v, v) for v in op.operands]
        elif op.name == "ml_program.global_load_const":
            self.plain[op.result] = ir.FlatSymbolRefAttr(op.attributes["global"]).value
        elif op.name == "torch_c.from_builtin_tensor":
            term = Term("parameter", op=op, data=self.plain.get(op.operands[0]))
            self.values[op.result] = (term, tuple(axis("channel", n) for n in static_sizes(op.result) or ()))
        elif op.name in ("func.return", "return"):
            self.result = self.values[op.operands[0]][0] if op.operands else None
        elif not op.name.startswith("torch.aten._assert"):
            self._apply(op)

    def _apply(self, op: ir.Operation) -> None:
        """Give the results of an op a meaning, or note that it has none."""
        rule = self.rules.get(op.name.removeprefix("torch.aten."))
        if rule is None:
            self._unmatched(op, NO_TORCH_OP if op.name == _OPERATOR else NO_PATTERN)
            return
        try:
            self.values[op.result] = rule(self, op)
        except Mismatch as problem:
            follows = any(_is_unknown(self.values[v][0]) for v in _tensors(self, op))
            self._unmatched(op, DOWNSTREAM if follows else str(problem))

    def _unmatched(self, op: ir.Operation, expected: str) -> None:
        self.unmatched.append(Unmatched.at(op, expected))
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
    """Whether a value is of unknown meaning since the last linear."""
    return term.kind == UNKNOWN or (term.kind != "linear" and any(_is_unknown(t) for t in term.inputs))


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
