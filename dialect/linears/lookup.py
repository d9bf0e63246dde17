"""From rows to outputs: `lut.table_lookup`, `lut.prefix_sum`, `lut.requantize`."""

from typing import Optional

from lutllm.bindings import ext, ir
from lutllm.dialect.base import LutOp, expect, integer, last_optional
from lutllm.dialect.linears import parameters
from lutllm.dialect.linears.parameters import Parameter
from lutllm.dialect.linears.rows import ROWS
from lutllm.dialect.linears.schemes import checked_scheme
from lutllm.dialect.shapes import agrees_with_producer, producer, same, typed
from lutllm.scheme import MAX_SHIFT


class TableLookupOp(LutOp, name="table_lookup", traits=[ext.Pure]):
    """What every pair adds to every output: the row entries the weight codes select, summed over the weight stages."""

    rows: ext.Operand[ir.RankedTensorType]
    scheme: ir.FlatSymbolRefAttr
    weights: ir.FlatSymbolRefAttr
    terms: ext.Result[ir.RankedTensorType]

    TYPES = {"rows": ROWS, "terms": "tensor<...xPxNxi32>"}  # noqa: RUF012

    DEFINITION = "terms[t, p, o] = sum_r rows[t, p, o / G, r, codes[p, r, o]]"
    EXAMPLE = """
func.func @lookup(%rows: tensor<?x4x2x2x16xi32>) -> tensor<?x4x6xi32> {
  %0 = "lut.table_lookup"(%rows) {scheme = @vq, weights = @q} : (tensor<?x4x2x2x16xi32>) -> tensor<?x4x6xi32>
  return %0 : tensor<?x4x6xi32>
}"""

    def check(self) -> None:
        scheme = checked_scheme(self)
        sizes = typed(self, R=scheme.R, c_w=scheme.c_w).sizes
        n = sizes["N"]
        same(f"B of rows for N = {n} outputs in blocks of G = {scheme.G}", scheme.blocks(n), sizes["B"])
        for attribute in ("scheme", "weights"):
            agrees_with_producer(self, self.rows, attribute)

    def parameters(self) -> list[Parameter]:
        sizes = typed(self).sizes
        spec = parameters.codes(checked_scheme(self), sizes["P"], sizes["N"])
        return [parameters.weight(self.weights, "codes", spec)]


class PrefixSumOp(LutOp, name="prefix_sum", traits=[ext.Pure]):
    """The running sum of the terms along the pairs; its last element is the result.

    `partial`, where given, is the sum of earlier pairs: a chain of engines hands it on. Every element of the running
    sum must fit int32; it never wraps.
    """

    terms: ext.Operand[ir.RankedTensorType]
    sum: ext.Result[ir.RankedTensorType]
    partial: Optional[ext.Operand[ir.RankedTensorType]] = None  # noqa: UP045 (ext reads typing.Optional)

    TYPES = {  # noqa: RUF012
        "terms": "tensor<...xPxNxi32>",
        "sum": "tensor<...xNxi32>",
        "partial": "tensor<...xNxi32>",
    }

    DEFINITION = "sum[t, o] = partial[t, o] + sum_p terms[t, p, o]"
    EXAMPLE = """
func.func @sum(%a: tensor<?x4x6xi32>, %b: tensor<?x3x6xi32>) -> tensor<?x6xi32> {
  %0 = "lut.prefix_sum"(%a) : (tensor<?x4x6xi32>) -> tensor<?x6xi32>
  %1 = "lut.prefix_sum"(%b, %0) : (tensor<?x3x6xi32>, tensor<?x6xi32>) -> tensor<?x6xi32>
  return %1 : tensor<?x6xi32>
}"""

    def check(self) -> None:
        typed(self)


last_optional(PrefixSumOp, "terms", "partial")


class RequantizeOp(LutOp, name="requantize", traits=[ext.Pure]):
    """The accumulator brought to the output's exponent: bias, integer multiplier, rounding shift, saturation.

    `unbiased` promises that the bias is 0 throughout."""

    acc: ext.Operand[ir.RankedTensorType]
    weights: ir.FlatSymbolRefAttr
    shift: ir.IntegerAttr
    y: ext.Result[ir.RankedTensorType]

    TYPES = {"acc": "tensor<...xNxi32>", "y": "tensor<...xNxi32, #lut.fixed<...>>"}  # noqa: RUF012

    OPTIONAL = {"unbiased": ir.UnitAttr}  # noqa: RUF012
    DEFINITION = "y[t, o] = clamp(round_shift((acc[t, o] + bias[o]) * multiplier[o], shift), bits)"
    EXAMPLE = """
func.func @requantize(%acc: tensor<?x6xi32>) -> tensor<?x6xi32, #y> {
  %0 = "lut.requantize"(%acc) {weights = @q, shift = 20} : (tensor<?x6xi32>) -> tensor<?x6xi32, #y>
  return %0 : tensor<?x6xi32, #y>
}"""

    def check(self) -> None:
        typed(self)
        integer(self.shift, "shift", 0, MAX_SHIFT)
        self._check_weights()

    def _check_weights(self) -> None:
        """They must be those of the lookups that were summed up."""
        total = producer(self.acc)
        for value in total.operation.operands if isinstance(total, PrefixSumOp) else ():
            lookup = producer(value)
            if isinstance(lookup, TableLookupOp):
                same("weights", lookup.weights, self.weights, "use one for both")

    def parameters(self) -> list[Parameter]:
        spec = parameters.per_output(typed(self).sizes["N"])
        return [parameters.weight(self.weights, part, spec) for part in ("multiplier", "bias")]


def check_row_source(name: str, allowed: tuple[str, ...], kind: str) -> None:
    expect(name in allowed, f"row_source to be one of {', '.join(allowed)} for kind '{kind}'", f"'{name}'", "change it")
