"""The four row sources: indices or activations in, the row of partial products of every pair and block out.

A row holds one value for each weight centroid; which source computes it is a scheduling choice among those of a scheme.
"""

from typing import Any

from lutllm.bindings import ext, ir
from lutllm.dialect.base import LutOp, expect, read
from lutllm.dialect.linears import parameters
from lutllm.dialect.linears.parameters import Parameter
from lutllm.dialect.linears.schemes import checked_scheme
from lutllm.dialect.linears.search import check_indices
from lutllm.dialect.shapes import agrees_with_producer, same, typed
from lutllm.scheme import Scheme

ROWS = "tensor<...xPxBxRxc_wxi32>"
_FROM_INDICES = {"indices": "tensor<...xPxSxi8/i16>", "rows": ROWS}
_FROM_ACTIVATIONS = {"x": "tensor<...xKxi16, #lut.fixed<...>>", "rows": ROWS}


class StoredTableOp(LutOp, name="stored_table", traits=[ext.Pure]):
    """Rows read from tables that lie in memory, computed ahead of time from the two codebooks."""

    indices: ext.Operand[ir.RankedTensorType]
    scheme: ir.FlatSymbolRefAttr
    weights: ir.FlatSymbolRefAttr
    rows: ext.Result[ir.RankedTensorType]

    TYPES = _FROM_INDICES

    DEFINITION = """
(right, left) = shifts[p]
tables[p, b, r, s, a, w] = round_shift(codebook[p, s, a] . weight_codebook[p, b, r, w], right)   (table_bits)
rows[t, p, b, r, w] = (sum_s tables[p, b, r, s, indices[t, p, s], w]) << left                    (term_bits)"""
    EXAMPLE = """
func.func @rows(%i: tensor<?x4x1xi8>) -> tensor<?x4x2x2x16xi32> {
  %0 = "lut.stored_table"(%i) {scheme = @vq, weights = @q} : (tensor<?x4x1xi8>) -> tensor<?x4x2x2x16xi32>
  return %0 : tensor<?x4x2x2x16xi32>
}"""

    def check(self) -> None:
        _check_indexed(self)

    def parameters(self) -> list[Parameter]:
        scheme, p, b = _row_sizes(self)
        return _arrays(self, tables=parameters.tables(scheme, p, b), shifts=parameters.shifts(p))


class _BuiltOp(LutOp):
    def check(self) -> None:
        _check_indexed(self)
        agrees_with_producer(self, self.operation.operands[0], "codebook")

    def parameters(self) -> list[Parameter]:
        scheme, p, _ = _row_sizes(self)
        book = parameters.parameter("codebook", read(self.attributes, "codebook"), parameters.codebook(scheme, p))
        return [book, *_codebook_and_shifts(self)]


class BuiltTableOp(_BuiltOp, name="built_table", traits=[ext.Pure]):
    """Rows read from tables built on chip from the two codebooks, once per step, for all tokens of the step.

    Same integers as `lut.stored_table`.
    """

    indices: ext.Operand[ir.RankedTensorType]
    scheme: ir.FlatSymbolRefAttr
    codebook: ir.FlatSymbolRefAttr
    weights: ir.FlatSymbolRefAttr
    rows: ext.Result[ir.RankedTensorType]

    TYPES = _FROM_INDICES

    DEFINITION = "rows as for lut.stored_table, with tables computed from codebook and weight_codebook by its formula"
    EXAMPLE = """
func.func @rows(%i: tensor<?x4x1xi8>) -> tensor<?x4x2x2x16xi32> {
  %0 = "lut.built_table"(%i) {scheme = @vq, weights = @q, codebook = @q.input.codebook}
      : (tensor<?x4x1xi8>) -> tensor<?x4x2x2x16xi32>
  return %0 : tensor<?x4x2x2x16xi32>
}"""


class BuiltRowOp(_BuiltOp, name="built_row", traits=[ext.Pure]):
    """Only the rows in use, built from the chosen activation centroid and the weight codebook.

    Same integers as `lut.stored_table`. Entries that no token reads are never computed, so never checked.
    """

    indices: ext.Operand[ir.RankedTensorType]
    scheme: ir.FlatSymbolRefAttr
    codebook: ir.FlatSymbolRefAttr
    weights: ir.FlatSymbolRefAttr
    rows: ext.Result[ir.RankedTensorType]

    TYPES = _FROM_INDICES

    DEFINITION = """
c[s] = codebook[p, s, indices[t, p, s]]
rows[t, p, b, r, w] = (sum_s round_shift(c[s] . weight_codebook[p, b, r, w], right)) << left"""
    EXAMPLE = """
func.func @rows(%i: tensor<?x4x1xi8>) -> tensor<?x4x2x2x16xi32> {
  %0 = "lut.built_row"(%i) {scheme = @vq, weights = @q, codebook = @q.input.codebook}
      : (tensor<?x4x1xi8>) -> tensor<?x4x2x2x16xi32>
  return %0 : tensor<?x4x2x2x16xi32>
}"""


class ExactRowOp(LutOp, name="exact_row", traits=[ext.Pure]):
    """Rows from the activation itself: no search, no activation codebook. Another quantization, so another kind."""

    x: ext.Operand[ir.RankedTensorType]
    scheme: ir.FlatSymbolRefAttr
    weights: ir.FlatSymbolRefAttr
    rows: ext.Result[ir.RankedTensorType]

    TYPES = _FROM_ACTIVATIONS

    DEFINITION = """
rows[t, p, b, r, w] = round_shift((x[t, 2p], x[t, 2p + 1]) . weight_codebook[p, b, r, w], right) << left
before << left: table_bits, after it: term_bits"""
    EXAMPLE = """
func.func @rows(%x: tensor<?x8xi16, #x>) -> tensor<?x4x2x2x16xi32> {
  %0 = "lut.exact_row"(%x) {scheme = @exact, weights = @q} : (tensor<?x8xi16, #x>) -> tensor<?x4x2x2x16xi32>
  return %0 : tensor<?x4x2x2x16xi32>
}"""

    def check(self) -> None:
        scheme = checked_scheme(self)
        _check_kind(scheme, "exact", "use a row source for centroid indices")
        types = typed(self, R=scheme.R, c_w=scheme.c_w)
        same("bits of x", scheme.x_bits, types.bits["x"])

    def parameters(self) -> list[Parameter]:
        return _codebook_and_shifts(self)


def _codebook_and_shifts(op: Any) -> list[Parameter]:
    scheme, p, b = _row_sizes(op)
    return _arrays(op, weight_codebook=parameters.weight_codebook(scheme, p, b), shifts=parameters.shifts(p))


def _arrays(op: Any, **parts: tuple[tuple[int, ...], str]) -> list[Parameter]:
    return [parameters.weight(op.weights, part, spec) for part, spec in parts.items()]


def _check_kind(scheme: Scheme, wanted: str, do: str) -> None:
    expect(scheme.kind == wanted, f"a scheme of kind '{wanted}'", f"'{scheme.kind}'", do)


def _check_indexed(op: Any) -> None:
    scheme = checked_scheme(op)
    _check_kind(scheme, "vq", "use lut.exact_row")
    typed(op, S=scheme.S, R=scheme.R, c_w=scheme.c_w)
    check_indices(op.indices, scheme)
    agrees_with_producer(op, op.indices, "scheme")


def _row_sizes(op: Any) -> tuple[Scheme, int, int]:
    """Scheme, pairs and blocks of a row source."""
    sizes = typed(op).sizes
    return checked_scheme(op), sizes["P"], sizes["B"]
