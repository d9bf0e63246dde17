"""Writing what was read: a `Reader` in, a function of float ops in the same module out.

Arguments are those of the torch function that hold ids (i32 [T]), positions (i32 [1], the first) or inputs
(f32 [T, channels]); masks vanish, for attention is causal. T is dynamic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from lutllm import dialect
from lutllm.bindings import func, ir
from lutllm.lowering.raising.names import names_of
from lutllm.lowering.raising.reader import Reader, Term

FORWARD = "forward"


def write_function(module: ir.Module, reader: Reader) -> None:
    """Add `@forward` to a module, at its end. Nothing may be unmatched."""
    terms = _needed(reader)
    names = names_of(terms)
    arguments = [term for term in reader.arguments if _argument_type(term, reader)]
    types = [ir.Type.parse(_argument_type(term, reader) or "") for term in arguments]
    with ir.InsertionPoint(module.body):
        function = func.FuncOp(FORWARD, (types, []))
    places = [ir.Location.name(reader.roles.get(term, _ROLES[term.kind])) for term in arguments]
    block = function.add_entry_block(places)
    values: dict[Term, ir.Value] = dict(zip(arguments, block.arguments, strict=True))
    with ir.InsertionPoint(block):
        for term in terms:
            assert term.op is not None
            with term.op.location:
                operands = [values[t] for t in term.inputs if t in values]
                values[term] = _WRITE[term.kind](term, names[term], operands)
        results = [values[term] for term in reader.results]
        func.ReturnOp(results)
    function.attributes["function_type"] = ir.TypeAttr.get(
        ir.FunctionType.get(types, [value.type for value in results])
    )


def _needed(reader: Reader) -> list[Term]:
    """The terms that results are made of, in order."""
    needed: set[Term] = set()
    todo = list(reader.results)
    while todo:
        term = todo.pop()
        if term not in needed:
            needed.add(term)
            todo += term.inputs
    return [term for term in reader.terms if term in needed]


_ROLES = {"integers": "ids", "input": "x"}


def _argument_type(term: Term, reader: Reader) -> str | None:
    if term.kind == "input":
        return f"tensor<?x{term.channels}xf32>"
    if term.kind == "integers":
        return "tensor<1xi32>" if reader.roles.get(term) == "positions" else "tensor<?xi32>"
    return None


# Of each kind: the term, the name of its op and its operands.
_WRITE: dict[str, Callable[[Any, str, list[ir.Value]], ir.Value]] = {
    "embedding": lambda term, name, operands: dialect.float_embedding(
        *operands, name=name, channels=term.channels, **asdict(term.data)
    ),
    "norm": lambda term, name, operands: dialect.float_norm(*operands, name=name, **asdict(term.data)),
    "linear": lambda term, name, operands: dialect.float_linear(
        *operands, outputs=term.channels, **{**asdict(term.data), "name": name}
    ),
    "rope": lambda term, name, operands: dialect.float_rope(*operands, name=name, **asdict(term.data)),
    "attention": lambda term, name, operands: dialect.float_attention(
        *operands, name=name, **{key: value for key, value in asdict(term.data).items() if key != "head_dim"}
    ),
    "slice": lambda term, name, operands: dialect.float_slice(
        *operands, name=name, channels=term.channels, **asdict(term.data)
    ),
    "tanh": lambda term, name, operands: dialect.float_tanh(*operands, name=name, scale=term.data),
    "gated": lambda term, name, operands: dialect.float_gated(*operands, name=name, activation=term.data),
    "add": lambda term, name, operands: dialect.float_add(*operands, name=name),
}
