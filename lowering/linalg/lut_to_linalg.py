"""`lut-to-linalg`: lut ops on tensors, from floats to floats or between, to linalg, arith and tensor on integers.

Comes before or after what brings the rest of a module to linalg; nothing of `lut` is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from lutllm import dialect
from lutllm.bindings import ir, ml_program, ops_below
from lutllm.dialect import LutOp, bits_of, exponent_of, fixed_of, scheme_of
from lutllm.dialect.shapes import producer
from lutllm.dialect.symbols import op_parameters
from lutllm.lowering.linalg.generic import At, Scalar, Tokens, read
from lutllm.passes import LutDecompose, Pass

Arrays = dict[str, ir.Value]  # by what they are to the op: Parameter.attribute
INDEX_BITS = 10  # of a centroid below its distance
_MANTISSA, _UNIT = 23, 150  # of f32: bits, and the exponent field of numbers whose last bit is 1


@dataclass(frozen=True)
class LutToLinalg(Pass):
    """Lower quantizer, linears and their steps to linalg on integers, for any MLIR compiler.

    Linears are split as lut-decompose does. Parameters are loads of globals, for lut-bind-parameters. Tensors lose
    their #lut.fixed, in signatures too, and schemes go. Where the interpreter refuses a value (a sum too wide, NaN)
    the result is some integer.
    """

    name: ClassVar[str] = "lut-to-linalg"
    anchor: ClassVar[str | None] = "builtin.module"

    def run(self, op: ir.Operation) -> None:
        LutDecompose().run(op)
        schemes = [each for each in ops_below(op) if each.name == "lut.scheme"]
        functions = [each for each in ops_below(op) if each.name == "func.func"]
        steps = [each for each in ops_below(op) if each.name.startswith("lut.") and each not in schemes]
        self._check(op)
        done = _Values({})
        for step in steps:
            with ir.InsertionPoint(step), step.location:
                done.lower(step.opview)
        for step in reversed(steps):
            if step.results[0] in done.values:
                step.results[0].replace_all_uses_with(done.values[step.results[0]])
            step.erase()
        for function in functions:
            with function.location:
                _plain_signature(function.opview)
        for scheme in schemes:
            scheme.erase()

    def _check(self, root: ir.Operation) -> None:
        for op in ops_below(root):
            if op.name.startswith("lut."):
                if op.name != "lut.scheme" and op.name not in _STEPS:
                    known = ", ".join(_STEPS)
                    self.fail(op, f"expected lut.linear or one of {known}; leave others in torch, as torch-to-lut does")
            elif op.name != "func.return" and any(fixed_of(v.type) for v in (*op.operands, *op.results)):
                self.fail(op, "expected tensors with #lut.fixed on lut ops, arguments and returns alone; dequantize")


@dataclass
class _Values:
    """What has been made of the results so far."""

    values: dict[ir.Value, ir.Value]

    def lower(self, op: Any) -> None:
        """Make the ops of one, at the current insertion point."""
        if _summed(op):
            return  # with the sum, so that terms, as many as tokens times the layer, are never whole
        first, *rest = op.operation.operands
        lookup: Any = producer(first)
        if _summed(lookup):
            made = _lookup(lookup, _loaded(lookup), self._of(lookup.rows), ".n", *map(self._of, rest))
        else:
            made = _STEPS[op.operation.name](op, _loaded(op), *map(self._of, (first, *rest)))
        self.values[op.operation.results[0]] = made

    def _of(self, value: ir.Value) -> ir.Value:
        return self.values.get(value, value)


def _summed(op: LutOp | None) -> bool:
    """Whether an op is a lookup that is the terms of one sum alone."""
    uses = list(op.operation.results[0].uses) if isinstance(op, dialect.TableLookupOp) else []
    return [(use.owner.name, use.operand_number) for use in uses] == [("lut.prefix_sum", 0)]


def _loaded(op: Any) -> Arrays:
    """The parameters of an op, loaded."""
    return {
        p.attribute: ml_program.global_load_const(ir.Type.parse(p.type_text()), p.symbol) for p in op_parameters(op)
    }


def _quantize(op: Any, arrays: Arrays, x: ir.Value) -> ir.Value:
    """From the bits of the float: an integer of 24 bits, shifted. Infinities saturate."""

    def body(at: At, x: Scalar) -> Scalar:
        bits = x.bitcast("i32")
        field, fraction = (bits >> _MANTISSA) & 255, bits & ((1 << _MANTISSA) - 1)
        size = field.if_below(1, fraction, fraction | (1 << _MANTISSA))
        value = bits.if_below(0, size * -1, size)
        exponent = read(arrays["result.exponents"], at("k")[0] // 2).to("i32")
        shift = (exponent - field.op("maxsi", 1) + _UNIT).clamp(0, 30)  # at 0 all have saturated, from 25 on all are 0
        return value.round_shift(field.if_below(255, shift, shift - shift)).saturate(bits_of(op.result)).to("i16")

    return Tokens(x, 1).generic(".k->.k", [x], "i16", body)


def _dequantize(op: Any, _: Arrays, y: ir.Value) -> ir.Value:
    scale = 2.0 ** exponent_of(op.y)
    return Tokens(y, 1).generic(".n->.n", [y], "f32", lambda at, y: y.to("f32").op("mulf", scale))


def _search(op: Any, arrays: Arrays, x: ir.Value) -> ir.Value:
    """The least distance * 2**INDEX_BITS + index: in whatever order it is found, the lowest index among equals."""
    scheme, tokens, book = scheme_of(op), Tokens(x, 1), arrays["codebook"]
    pairs = tokens.pairs(x)
    rest = [tokens.pick(pairs, d1=c) for c in (0, 1)]
    keys: list[ir.Value] = []

    def distance(_: At, x: Scalar, y: Scalar, a: Scalar, b: Scalar) -> Scalar:
        away = [x.to("i64") - a.to("i64"), y.to("i64") - b.to("i64")]
        if scheme.metric == "l2":
            return away[0] * away[0] + away[1] * away[1]
        return away[0].magnitude().op("maxsi", away[1].magnitude())

    def nearest(at: At, *scalars: Scalar) -> Scalar:
        key = (distance(at, *scalars[:-1]) << INDEX_BITS) | at("a")[0].to("i64")
        return scalars[-1].op("minsi", key)

    for s in range(scheme.S):
        centroids = [tokens.pick(book, d3=s, d1=c) for c in (0, 1)]
        keys.append(tokens.generic(".p,.p,pa,pa->.p", [*rest, *centroids], "i64", nearest, start=(1 << 63) - 1))

        def left(at: At, rest: Scalar, key: Scalar, s: int, c: int) -> Scalar:
            return rest.to("i32") - read(book, *at("p"), s, _index(key), c).to("i32")

        if s + 1 < scheme.S:
            rest = [
                tokens.generic(".p,.p->.p", [r, keys[s]], "i32", partial(left, s=s, c=c)) for c, r in enumerate(rest)
            ]

    def chosen(at: At, *keys: Scalar) -> Scalar:
        key = keys[-1]
        for s in reversed(range(scheme.S - 1)):
            key = at("s")[0].if_below(s + 1, keys[s], key)
        return (key & ((1 << INDEX_BITS) - 1)).to(str(op.indices.type.element_type))

    maps = ",".join([".p"] * scheme.S) + "->.ps"
    return tokens.generic(maps, keys, str(op.indices.type.element_type), chosen, s=scheme.S)


def _index(key: Scalar) -> Scalar:
    return (key & ((1 << INDEX_BITS) - 1)).to("index")


def _stored_table(op: Any, arrays: Arrays, indices: ir.Value) -> ir.Value:
    tables = arrays["tables"]
    _, blocks, stages, _, _, entries = tables.type.shape
    tokens = Tokens(indices, 2)

    def body(at: At, index: Scalar, left: Scalar, so_far: Scalar) -> Scalar:
        entry = read(tables, *at("pbrs"), index.to("index", unsigned=True), *at("w")).to("i32")
        return so_far + (entry << left.to("i32"))

    inputs = [indices, tokens.pick(arrays["shifts"], d1=1)]
    return tokens.generic(".ps,p->.pbrw", inputs, "i32", body, b=blocks, r=stages, w=entries)


def _built_row(op: Any, arrays: Arrays, indices: ir.Value) -> ir.Value:
    """Also of lut.built_table, whose integers are the same."""
    tokens = Tokens(indices, 2)

    def centroid(at: At, index: Scalar, c: int) -> Scalar:
        return read(arrays["codebook"], *at("ps"), index.to("index", unsigned=True), c)

    values = [tokens.generic(".ps->.ps", [indices], "i16", partial(centroid, c=c)) for c in (0, 1)]
    return _rows(tokens, ".ps", values, arrays)


def _exact_row(op: Any, arrays: Arrays, x: ir.Value) -> ir.Value:
    tokens = Tokens(x, 1)
    pairs = tokens.pairs(x)
    return _rows(tokens, ".p", [tokens.pick(pairs, d1=c) for c in (0, 1)], arrays)


def _rows(tokens: Tokens, letters: str, values: list[ir.Value], arrays: Arrays) -> ir.Value:
    """Rows of both numbers of each pair; stages, where `letters` has them, add up."""

    def body(_: At, x: Scalar, y: Scalar, v: Scalar, w: Scalar, *rest: Scalar) -> Scalar:
        right, left, *so_far = rest
        product = x.to("i32") * v.to("i32") + y.to("i32") * w.to("i32")
        row = product.round_shift(right.to("i32")) << left.to("i32")
        return sum(so_far, start=row)

    inputs = [*values, *(tokens.pick(arrays[name], d1=c) for name in ("weight_codebook", "shifts") for c in (0, 1))]
    return tokens.generic(f"{letters},{letters},pbrw,pbrw,p,p->.pbrw", inputs, "i32", body)


def _lookup(op: Any, arrays: Arrays, rows: ir.Value, result: str = ".pn", start: int | ir.Value = 0) -> ir.Value:
    """Terms, or for the result `.n` their sum from `start` on."""
    block = scheme_of(op).G

    def body(at: At, code: Scalar, so_far: Scalar) -> Scalar:
        entry = code.to("index", unsigned=True)
        return so_far + read(rows, *at(".p"), at("n")[0] // block, *at("r"), entry)

    return Tokens(rows, 4).generic(f"prn->{result}", [arrays["codes"]], "i32", body, start=start)


def _prefix_sum(op: Any, _: Arrays, terms: ir.Value, start: int | ir.Value = 0) -> ir.Value:
    return Tokens(terms, 2).generic(".pn->.n", [terms], "i32", lambda at, x, so_far: so_far + x, start=start)


def _requantize(op: Any, arrays: Arrays, acc: ir.Value) -> ir.Value:
    def body(at: At, acc: Scalar, bias: Scalar, multiplier: Scalar) -> Scalar:
        scaled = (acc.to("i64") + bias.to("i64")) * multiplier.to("i64")
        return scaled.round_shift(int(op.shift.value)).saturate(bits_of(op.y)).to("i32")

    return Tokens(acc, 1).generic(".n,n,n->.n", [acc, arrays["bias"], arrays["multiplier"]], "i32", body)


_STEPS: dict[str, Callable[..., ir.Value]] = {
    "lut.quantize": _quantize,
    "lut.dequantize": _dequantize,
    "lut.centroid_search": _search,
    "lut.stored_table": _stored_table,
    "lut.built_table": _built_row,
    "lut.built_row": _built_row,
    "lut.exact_row": _exact_row,
    "lut.table_lookup": _lookup,
    "lut.prefix_sum": _prefix_sum,
    "lut.requantize": _requantize,
}


def _plain(type_: ir.Type) -> ir.Type:
    """A type without its #lut.fixed."""
    if fixed_of(type_) is None:
        return type_
    return ir.RankedTensorType.get(list(type_.shape), type_.element_type)  # type: ignore[attr-defined]


def _plain_signature(function: Any) -> None:
    for argument in function.entry_block.arguments if not function.is_external else ():
        argument.set_type(_plain(argument.type))
    inputs, results = map(_plain, function.type.inputs), map(_plain, function.type.results)
    function.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(list(inputs), list(results)))
