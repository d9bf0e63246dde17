"""One function for each op: values and plain Python data in, the op inserted at the current insertion point, value out.

Result types are inferred, with the scheme that the enclosing module has under the name given. Sizes that operands do
not show (outputs, blocks) come from the globals the module declares, or from a keyword. A context, a location and an
insertion point must be current, as for any MLIR builder.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lutllm.bindings import ir
from lutllm.dialect.attributes import fixed, i64, symbol
from lutllm.dialect.base import Invalid, read
from lutllm.dialect.linears import parameters
from lutllm.dialect.linears.parameters import of_weights
from lutllm.dialect.linears.schemes import SchemeOp, after, named_scheme
from lutllm.errors import IRError
from lutllm.scheme import Scheme

GLOBAL = "ml_program.global"


def declare(module: ir.Module, name: str, shape: tuple[int, ...], dtype: str | np.dtype | type) -> ir.OpView:
    """Declare a global whose data lies in the store; a second declaration must equal the first. Returns the global."""
    type_ = _global_type(module, name, shape, dtype)
    known = _find(module.operation, name)
    if known is None:
        with after(module.body, SchemeOp.OPERATION_NAME, GLOBAL):
            return _global(name, type_)
    if known.operation.name != GLOBAL or known.attributes["type"].value != type_:
        raise IRError(f"@{name}: expected {type_} as declared now, got {known}; use another name")
    return known


def declare_all(module: ir.Module, symbols: Mapping[str, tuple[tuple[int, ...], str]]) -> None:
    """Declare symbol -> (shape, dtype) in a module that has none of them; `declare` searches all globals each time."""
    with after(module.body, SchemeOp.OPERATION_NAME, GLOBAL):
        for name, (shape, dtype) in symbols.items():
            _global(name, _global_type(module, name, shape, dtype))


def quantize(x: ir.Value, *, exponents: str, bits: int = 16) -> ir.Value:
    return make("quantize", [x], like(x, x.type.shape, "i16", fixed(bits, exponents)))


def dequantize(y: ir.Value) -> ir.Value:
    return make("dequantize", [y], like(y, y.type.shape, "f32"))


def linear(
    x: ir.Value,
    *,
    scheme: str,
    weights: str,
    shift: int,
    out_exponent: int,
    codebook: str | None = None,
    tables: bool = False,
    unbiased: bool = False,
    row_source: str | None = None,
    outputs: int | None = None,
) -> ir.Value:
    n = _size(of_weights(weights, "codes"), 2, outputs, "outputs")
    optional: dict[str, ir.Attribute | None] = {
        "codebook": None if codebook is None else symbol(codebook),
        "tables": ir.UnitAttr.get() if tables else None,
        "unbiased": ir.UnitAttr.get() if unbiased else None,
        "row_source": None if row_source is None else ir.StringAttr.get(row_source),
    }
    type_ = like(x, [*_leading(x, 1), n], "i32", fixed(_scheme(scheme).out_bits, out_exponent))
    named = {k: v for k, v in optional.items() if v is not None}
    return make("linear", [x], type_, scheme=symbol(scheme), weights=symbol(weights), shift=i64(shift), **named)


def centroid_search(x: ir.Value, *, scheme: str, codebook: str) -> ir.Value:
    s = _scheme(scheme)
    type_ = like(x, [*_leading(x, 1), x.type.shape[-1] // 2, s.S], parameters.index_element(s))
    return make("centroid_search", [x], type_, scheme=symbol(scheme), codebook=symbol(codebook))


def stored_table(indices: ir.Value, *, scheme: str, weights: str, blocks: int | None = None) -> ir.Value:
    b = _size(of_weights(weights, "tables"), 1, blocks, "blocks")
    return _rows("stored_table", indices, indices.type.shape[:-1], scheme, weights, b)


def built_table(indices: ir.Value, *, scheme: str, weights: str, codebook: str, blocks: int | None = None) -> ir.Value:
    b = _size(of_weights(weights, "weight_codebook"), 1, blocks, "blocks")
    return _rows("built_table", indices, indices.type.shape[:-1], scheme, weights, b, codebook=symbol(codebook))


def built_row(indices: ir.Value, *, scheme: str, weights: str, codebook: str, blocks: int | None = None) -> ir.Value:
    b = _size(of_weights(weights, "weight_codebook"), 1, blocks, "blocks")
    return _rows("built_row", indices, indices.type.shape[:-1], scheme, weights, b, codebook=symbol(codebook))


def exact_row(x: ir.Value, *, scheme: str, weights: str, blocks: int | None = None) -> ir.Value:
    b = _size(of_weights(weights, "weight_codebook"), 1, blocks, "blocks")
    return _rows("exact_row", x, [*_leading(x, 1), x.type.shape[-1] // 2], scheme, weights, b)


def table_lookup(rows: ir.Value, *, scheme: str, weights: str, outputs: int | None = None) -> ir.Value:
    n = _size(of_weights(weights, "codes"), 2, outputs, "outputs")
    type_ = like(rows, [*_leading(rows, 4), rows.type.shape[-4], n], "i32")
    return make("table_lookup", [rows], type_, scheme=symbol(scheme), weights=symbol(weights))


def prefix_sum(terms: ir.Value, partial: ir.Value | None = None) -> ir.Value:
    type_ = like(terms, [*_leading(terms, 2), terms.type.shape[-1]], "i32")
    return make("prefix_sum", [terms] if partial is None else [terms, partial], type_)


def requantize(acc: ir.Value, *, weights: str, shift: int, out_exponent: int, out_bits: int = 24) -> ir.Value:
    type_ = like(acc, acc.type.shape, "i32", fixed(out_bits, out_exponent))
    return make("requantize", [acc], type_, weights=symbol(weights), shift=i64(shift))


def _rows(
    op: str, value: ir.Value, pairs: Sequence[int], scheme: str, weights: str, blocks: int, **more: ir.Attribute
) -> ir.Value:
    """A row source; `pairs` are the dimensions of its rows up to that of the pairs."""
    s = _scheme(scheme)
    type_ = like(value, [*pairs, blocks, s.R, s.c_w], "i32")
    return make(op, [value], type_, scheme=symbol(scheme), weights=symbol(weights), **more)


def make(name: str, operands: list[ir.Value], type_: ir.Type, /, **attributes: ir.Attribute) -> ir.Value:
    return ir.Operation.create(f"lut.{name}", results=[type_], operands=operands, attributes=attributes).result


def _leading(value: ir.Value, trailing: int) -> list[int]:
    return list(value.type.shape)[:-trailing]


def like(value: ir.Value, shape: list[int], element: str, encoding: ir.Attribute | None = None) -> ir.Type:
    return ir.RankedTensorType.get(list(shape), ir.Type.parse(element, value.context), encoding)


def _size(name: str, dimension: int, given: int | None, keyword: str) -> int:
    """A size: as given, or the dimension of the global the module around the insertion point declares."""
    if given is not None:
        return given
    found = _find(_root(), name)
    if found is None or "type" not in found.attributes:
        raise IRError(f"@{name}: expected a global that shows its size, got none; declare it first or give {keyword}=")
    return ir.RankedTensorType(found.attributes["type"].value).shape[dimension]


def _scheme(name: str) -> Scheme:
    """The scheme of that name in the module around the insertion point."""
    try:
        return named_scheme(_root(), name)
    except Invalid as problem:
        raise IRError(f"@{name}: {problem}") from None


def _root() -> ir.Operation:
    root = ir.InsertionPoint.current.block.owner.operation
    while root.parent is not None:
        root = root.parent.operation
    return root


def _global_type(module: ir.Module, name: str, shape: tuple[int, ...], dtype: str | np.dtype | type) -> ir.Type:
    element = parameters.ELEMENT_TYPES.get(np.dtype(dtype).name)
    if element is None:
        raise IRError(f"@{name}: expected dtype {', '.join(parameters.ELEMENT_TYPES)}, got {dtype}; convert the array")
    return ir.Type.parse(f"tensor<{'x'.join(map(str, shape))}x{element}>", module.context)


def _global(name: str, type_: ir.Type) -> ir.OpView:
    """A global at the current insertion point."""
    with type_.context, ir.Location.name(name):
        attributes = {
            "sym_name": ir.StringAttr.get(name),
            "sym_visibility": ir.StringAttr.get("private"),
            "type": ir.TypeAttr.get(type_),
            "value": ir.Attribute.parse(f"#ml_program.extern : {type_}"),
        }
        return ir.Operation.create(GLOBAL, attributes=attributes).opview


def _find(module: ir.Operation, name: str) -> ir.OpView | None:
    for op in module.regions[0].blocks[0].operations:
        found = read(op.operation.attributes, "sym_name")
        if isinstance(found, ir.StringAttr) and found.value == name:
            return op
    return None
