"""One function for each op: values and plain Python data in, the op inserted at the current insertion point, value out.

Result types are inferred. Sizes that operands do not show (outputs, blocks) come from the globals the enclosing module
declares, or from a keyword. A context, a location and an insertion point must be current, as for any MLIR builder.
"""

from collections.abc import Mapping

import numpy as np

from lutllm.bindings import ir
from lutllm.dialect import parameters
from lutllm.dialect.attributes import fixed, i64, scheme_attr, symbol
from lutllm.dialect.base import read
from lutllm.errors import IRError
from lutllm.scheme import Scheme


def declare(module: ir.Module, name: str, shape: tuple[int, ...], dtype: str | np.dtype | type) -> ir.OpView:
    """Declare a global whose data lies in the store; a second declaration must equal the first. Returns the global."""
    type_ = _global_type(module, name, shape, dtype)
    known = _find(module.operation, name)
    if known is None:
        with _after_globals(module.body):
            return _global(name, type_)
    if known.operation.name != "ml_program.global" or known.attributes["type"].value != type_:
        raise IRError(f"@{name}: expected {type_} as declared now, got {known}; use another name")
    return known


def declare_all(module: ir.Module, symbols: Mapping[str, tuple[tuple[int, ...], str]]) -> None:
    """Declare symbol -> (shape, dtype) in a module that has none of them; `declare` searches all globals each time."""
    with _after_globals(module.body):
        for name, (shape, dtype) in symbols.items():
            _global(name, _global_type(module, name, shape, dtype))


def quantize(x: ir.Value, *, exponents: str, bits: int = 16) -> ir.Value:
    return make("quantize", [x], like(x, x.type.shape, "i16", fixed(bits, exponents)), exponents=symbol(exponents))


def dequantize(y: ir.Value) -> ir.Value:
    return make("dequantize", [y], like(y, y.type.shape, "f32"))


def linear(
    x: ir.Value,
    *,
    scheme: Scheme,
    codes: str,
    weight_codebook: str,
    shifts: str,
    multiplier: str,
    bias: str,
    shift: int,
    out_exponent: int,
    codebook: str | None = None,
    tables: str | None = None,
    row_source: str | None = None,
    outputs: int | None = None,
) -> ir.Value:
    n = _size(codes, 2, outputs, "outputs")
    optional: dict[str, ir.Attribute | None] = {
        "codebook": None if codebook is None else symbol(codebook),
        "tables": None if tables is None else symbol(tables),
        "row_source": None if row_source is None else ir.StringAttr.get(row_source),
    }
    type_ = like(x, [*_leading(x, 1), n], "i32", fixed(scheme.out_bits, out_exponent))
    return make(
        "linear",
        [x],
        type_,
        scheme=scheme_attr(scheme),
        codes=symbol(codes),
        weight_codebook=symbol(weight_codebook),
        shifts=symbol(shifts),
        multiplier=symbol(multiplier),
        bias=symbol(bias),
        shift=i64(shift),
        **{k: v for k, v in optional.items() if v is not None},
    )


def centroid_search(x: ir.Value, *, scheme: Scheme, codebook: str) -> ir.Value:
    shape = [*_leading(x, 1), x.type.shape[-1] // 2, scheme.S]
    type_ = like(x, shape, parameters.index_element(scheme))
    return make("centroid_search", [x], type_, scheme=scheme_attr(scheme), codebook=symbol(codebook))


def stored_table(indices: ir.Value, *, scheme: Scheme, tables: str, shifts: str, blocks: int | None = None) -> ir.Value:
    type_ = _rows(indices, 2, indices.type.shape[-2], scheme, _size(tables, 1, blocks, "blocks"))
    symbols = {"tables": symbol(tables), "shifts": symbol(shifts)}
    return make("stored_table", [indices], type_, scheme=scheme_attr(scheme), **symbols)


def built_table(
    indices: ir.Value, *, scheme: Scheme, codebook: str, weight_codebook: str, shifts: str, blocks: int | None = None
) -> ir.Value:
    return _built("built_table", indices, scheme, codebook, weight_codebook, shifts, blocks)


def built_row(
    indices: ir.Value, *, scheme: Scheme, codebook: str, weight_codebook: str, shifts: str, blocks: int | None = None
) -> ir.Value:
    return _built("built_row", indices, scheme, codebook, weight_codebook, shifts, blocks)


def exact_row(x: ir.Value, *, scheme: Scheme, weight_codebook: str, shifts: str, blocks: int | None = None) -> ir.Value:
    type_ = _rows(x, 1, x.type.shape[-1] // 2, scheme, _size(weight_codebook, 1, blocks, "blocks"))
    return make(
        "exact_row",
        [x],
        type_,
        scheme=scheme_attr(scheme),
        weight_codebook=symbol(weight_codebook),
        shifts=symbol(shifts),
    )


def table_lookup(rows: ir.Value, *, scheme: Scheme, codes: str, outputs: int | None = None) -> ir.Value:
    shape = [*_leading(rows, 4), rows.type.shape[-4], _size(codes, 2, outputs, "outputs")]
    return make("table_lookup", [rows], like(rows, shape, "i32"), scheme=scheme_attr(scheme), codes=symbol(codes))


def prefix_sum(terms: ir.Value, partial: ir.Value | None = None) -> ir.Value:
    type_ = like(terms, [*_leading(terms, 2), terms.type.shape[-1]], "i32")
    return make("prefix_sum", [terms] if partial is None else [terms, partial], type_)


def requantize(
    acc: ir.Value, *, multiplier: str, bias: str, shift: int, out_exponent: int, out_bits: int = 24
) -> ir.Value:
    type_ = like(acc, acc.type.shape, "i32", fixed(out_bits, out_exponent))
    return make("requantize", [acc], type_, multiplier=symbol(multiplier), bias=symbol(bias), shift=i64(shift))


def _built(
    name: str, indices: ir.Value, scheme: Scheme, codebook: str, weight_codebook: str, shifts: str, blocks: int | None
) -> ir.Value:
    type_ = _rows(indices, 2, indices.type.shape[-2], scheme, _size(weight_codebook, 1, blocks, "blocks"))
    return make(
        name,
        [indices],
        type_,
        scheme=scheme_attr(scheme),
        codebook=symbol(codebook),
        weight_codebook=symbol(weight_codebook),
        shifts=symbol(shifts),
    )


def _rows(value: ir.Value, trailing: int, pairs: int, scheme: Scheme, blocks: int) -> ir.Type:
    return like(value, [*_leading(value, trailing), pairs, blocks, scheme.R, scheme.c_w], "i32")


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
    root = ir.InsertionPoint.current.block.owner.operation
    while root.parent is not None:
        root = root.parent.operation
    found = _find(root, name)
    if found is None or "type" not in found.attributes:
        raise IRError(f"@{name}: expected a global that shows its size, got none; declare it first or give {keyword}=")
    return ir.RankedTensorType(found.attributes["type"].value).shape[dimension]


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
        return ir.Operation.create("ml_program.global", attributes=attributes).opview


def _after_globals(block: ir.Block) -> ir.InsertionPoint:
    for op in block.operations:
        if op.operation.name != "ml_program.global":
            return ir.InsertionPoint(op)
    return ir.InsertionPoint(block)


def _find(module: ir.Operation, name: str) -> ir.OpView | None:
    for op in module.regions[0].blocks[0].operations:
        found = read(op.operation.attributes, "sym_name")
        if isinstance(found, ir.StringAttr) and found.value == name:
            return op
    return None
