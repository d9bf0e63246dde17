"""The functions of a quantized model: a float graph and its constants in, integer functions out.

A model that reads tokens and has attention gets three, over the same parameters and KV cache. @prefill takes any
number of token ids and @decode one; both return the next token, its logits and the caches. @score returns the logits
of all tokens instead. Any other graph gets @forward, which returns what the float function returns, and its caches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lutllm import dialect
from lutllm.bindings import func, ir
from lutllm.dialect.base import Invalid
from lutllm.dialect.decoders import builders as build
from lutllm.dialect.symbols import op_parameters
from lutllm.errors import InputError
from lutllm.lowering.quantize.forms import Problem, Unquantizable, is_ids, is_position, is_wide, require_integer_form
from lutllm.lowering.quantize.graph import FORWARD, FloatGraph, maker, name_of
from lutllm.lowering.quantize.rules import PARTS, Writer, at
from lutllm.quantization import AttentionConstants, Quantization

TEXT_FUNCTIONS = ("prefill", "decode", "score")


def write_functions(module: ir.Module, graph: FloatGraph, quantization: Quantization, context: int = 0) -> None:
    """Append the functions to `module`, with their schemes.

    `context` tokens fit the caches, 0: as many as RoPE has positions. Raises `Unquantizable` for ops without integer
    form, and at the first without constants.
    """
    require_integer_form(graph)
    attentions = graph.of(dialect.FloatAttentionOp)
    text = bool(attentions) and bool(graph.of(dialect.FloatEmbeddingOp))
    rows = _rows(quantization, context) if attentions else 0
    used = dict.fromkeys(quantization.linears[n].scheme for n in graph.linears if n in quantization.linears)
    schemes = {scheme: dialect.declare_scheme(module, scheme) for scheme in used}
    for name in TEXT_FUNCTIONS if text else (FORWARD,):
        _Function(name, Writer(graph, quantization, schemes=schemes), rows).write(module.body)


def declare_parameters(module: ir.Module) -> None:
    """Declare the globals that the lut ops of a module need, in the order in which they need them.

    Raises `Unquantizable` at an op whose constants do not fit it.
    """
    needed: dict[str, tuple[Any, str]] = {}
    for op in dialect.lut_ops(module):
        try:
            needed |= {p.symbol: (p.shape, p.dtype) for p in op_parameters(op)}
        except Invalid as problem:
            raise Unquantizable([Problem(op, str(problem))]) from None
    dialect.declare_all(module, needed)


def _rows(quantization: Quantization, context: int) -> int:
    """The rows of a cache."""
    most = quantization.positions
    if context < 0 or (most is None and not context) or (most is not None and context > most):
        wanted = "at least 1 token" if most is None else f"1..{most} tokens, as the RoPE tables have positions"
        raise InputError(
            f"expected a context of {wanted}, got {context}; choose another context, or quantize with more positions"
        )
    return context or most or 0


class _Function:
    """Writes one function."""

    def __init__(self, name: str, writer: Writer, rows: int) -> None:
        self.name, self.writer, self.graph, self.rows = name, writer, writer.graph, rows
        self.last = _last(self.graph) if name in ("prefill", "decode") else None

    def write(self, body: ir.Block) -> None:
        arguments = [*self._arguments(), *self._caches()]
        types, locations = [type_ for _, _, type_ in arguments], [ir.Location.name(name) for _, name, _ in arguments]
        with ir.InsertionPoint(body), self.graph.function.operation.location:
            function = func.FuncOp(self.name, (types, []))
        block = function.add_entry_block(locations)
        for (key, name, _), value in zip(arguments, block.arguments, strict=True):
            self._bind(key, name, value)
        with ir.InsertionPoint(block), ir.Location.unknown():
            results = [*self._results(), *self.writer.caches.values()]
            func.ReturnOp(results)
        type_ = ir.FunctionType.get(types, [value.type for value in results])
        function.attributes["function_type"] = ir.TypeAttr.get(type_)

    def _arguments(self) -> Iterator[tuple[Any, str, ir.Type]]:
        """(what it stands for, name, type) of each argument before the caches."""
        i32 = ir.IntegerType.get_signless(32)
        tokens = 1 if self.name == "decode" else ir.ShapedType.get_dynamic_size()
        seen = False
        for argument in self.graph.arguments:
            if is_ids(argument):
                yield argument, "ids", ir.RankedTensorType.get([tokens], i32)
            elif is_position(argument):
                seen = True
                yield argument, "position", argument.type
            else:
                reader = self.writer.reader(argument)
                meaning = dialect.fixed(reader.scheme.x_bits, reader.exponents)
                shape, i16 = [tokens, argument.type.shape[1]], ir.IntegerType.get_signless(16)
                yield argument, "x", ir.RankedTensorType.get(shape, i16, meaning)
        if self.rows and not seen:
            yield None, "position", ir.RankedTensorType.get([1], i32)

    def _caches(self) -> Iterator[tuple[Any, str, ir.Type]]:
        for op in self.graph.of(dialect.FloatAttentionOp):
            bits = self.writer.constants(op, AttentionConstants).cache_bits
            element = ir.IntegerType.get_signless(8 if bits <= 8 else 16)
            for part in PARTS:
                meaning = dialect.fixed(bits, f"{name_of(op)}.{part}.exponents")
                type_ = ir.RankedTensorType.get([self.rows, op.keys.type.shape[1]], element, meaning)
                yield (name_of(op), part), f"{name_of(op)}.{part}s", type_

    def _bind(self, key: Any, name: str, value: ir.Value) -> None:
        if isinstance(key, tuple):
            self.writer.caches[key] = value
            return
        if key is not None:
            self.writer.values[key] = value
        if name == "position":
            self.writer.position = value

    def _results(self) -> Iterator[ir.Value]:
        w = self.writer
        for op in self.graph.ops:
            value = w.write(op)
            if self.last is not None and op.y == self.last:
                readers = self.graph.readers(op.y)
                with at(readers[0] if readers else op):
                    w.values[op.y] = build.last_token(value)
        results = [w.values[value] for value in self.graph.results]
        if self.last is not None:
            with at(maker(self.graph.results[0])):
                yield build.argmax(results[0])
        yield from results


def _last(graph: FloatGraph) -> ir.Value:
    """The earliest value from which the logits need the last token alone: what follows is linears and norms."""
    value = found = graph.results[0]
    while isinstance(op := maker(value), (dialect.FloatLinearOp, dialect.FloatNormOp, dialect.FloatTanhOp)):
        value = op.x
        if len(graph.readers(value)) > 1:
            break
        found = value if is_wide(value) else found
    return found
