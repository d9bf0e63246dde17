"""`lut-extract-linears`: a module with `lut.linear` somewhere in it; one function of these linears alone out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lutllm import dialect
from lutllm.bindings import func, ir
from lutllm.passes import Pass
from lutllm.passes.walk import ops_in

FUNCTION = "prefill"  # the program of an accelerator that takes any number of tokens
_KEPT = ("lut.scheme", "ml_program.global")


@dataclass(frozen=True)
class LutExtractLinears(Pass):
    """Replace everything by @prefill, which takes the input of each linear and returns its output.

    Linears that read one value share an argument; a linear used several times stands there once. Any number of tokens.
    Globals, schemes, locations and `lut.store` stay; globals that nobody reads any more go with lut-symbol-dce.
    """

    name: ClassVar[str] = "lut-extract-linears"
    anchor: ClassVar[str | None] = "builtin.module"

    def run(self, op: ir.Operation) -> None:
        first: dict[str, Any] = {}
        for linear in ops_in(op, dialect.LinearOp):
            first.setdefault(linear.weights.value, linear)
        if not first:
            self.fail(op, "expected lut.linear ops, got none; run torch-to-lut first")
        block = op.regions[0].blocks[0]
        old = [child.operation for child in block.operations if child.operation.name not in _KEPT]
        with ir.InsertionPoint(block), op.location:
            _write(list(first.values()))
        for child in reversed(old):
            child.erase()


def _write(linears: Sequence[Any]) -> None:
    """The function of `linears`, in order."""
    inputs = list(dict.fromkeys(linear.x for linear in linears))
    types = [_any_tokens(value.type) for value in inputs]
    results = [_any_tokens(linear.y.type) for linear in linears]
    function = func.FuncOp(FUNCTION, (types, results))
    block = function.add_entry_block([ir.Location.name(_name(value)) for value in inputs])
    values = dict(zip(inputs, block.arguments, strict=True))
    with ir.InsertionPoint(block):
        made = []
        for linear, type_ in zip(linears, results, strict=True):
            attributes = {name: linear.attributes[name] for name in linear.attributes}
            with linear.location:
                new = ir.Operation.create(
                    "lut.linear", results=[type_], operands=[values[linear.x]], attributes=attributes
                )
            made.append(new.result)
        func.ReturnOp(made)


def _name(value: ir.Value) -> str:
    """An input goes by its exponents."""
    return dialect.exponents_of(value).removesuffix(".exponents")


def _any_tokens(type_: ir.Type) -> ir.RankedTensorType:
    """The type with all dimensions but the last as one of any size."""
    tensor = ir.RankedTensorType(type_)
    sizes = [ir.ShapedType.get_dynamic_size(), tensor.shape[-1]]
    return ir.RankedTensorType.get(sizes, tensor.element_type, tensor.encoding)
