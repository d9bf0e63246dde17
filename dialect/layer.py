"""`lut.linear`: one whole linear layer, before a pass splits it into search, rows, lookup, sum and requantizer."""

from lutllm.bindings import ext, ir
from lutllm.dialect import parameters
from lutllm.dialect.attributes import SchemeAttr, checked_scheme
from lutllm.dialect.base import LutOp, expect, integer
from lutllm.dialect.boundary import check_output_encoding
from lutllm.dialect.lookup import check_row_source
from lutllm.dialect.parameters import Parameter
from lutllm.dialect.search import check_activations
from lutllm.dialect.shapes import pairs, same, same_tokens, tensor
from lutllm.scheme import MAX_SHIFT, Scheme


class LinearOp(LutOp, name="linear", traits=[ext.Pure]):
    """A linear layer by table lookup. Names every parameter; `row_source` may be left for the schedule to choose.

    Kind 'vq' needs `codebook`, kind 'exact' has none; `tables` is needed by the row source 'stored_table' only.
    """

    x: ext.Operand[ir.RankedTensorType]
    scheme: SchemeAttr
    codes: ir.FlatSymbolRefAttr
    weight_codebook: ir.FlatSymbolRefAttr
    shifts: ir.FlatSymbolRefAttr
    multiplier: ir.FlatSymbolRefAttr
    bias: ir.FlatSymbolRefAttr
    shift: ir.IntegerAttr
    y: ext.Result[ir.RankedTensorType]

    TYPES = {"x": "tensor<...xKxi16, #lut.fixed<...>>", "y": "tensor<...xNxi32, #lut.fixed<...>>"}  # noqa: RUF012

    OPTIONAL = {"codebook": ir.FlatSymbolRefAttr, "tables": ir.FlatSymbolRefAttr, "row_source": ir.StringAttr}  # noqa: RUF012
    DEFINITION = "y = requantize(prefix_sum(table_lookup(rows(centroid_search(x))))), or with rows(x) for kind 'exact'"
    EXAMPLE = """
func.func @linear(%x: tensor<?x8xi16, #x>) -> tensor<?x6xi32, #y> {
  %0 = "lut.linear"(%x) {scheme = #vq, codes = @q.codes, weight_codebook = @q.weight_codebook, shifts = @q.shifts,
      multiplier = @q.multiplier, bias = @q.bias, shift = 20, codebook = @q.input.codebook, row_source = "built_row"}
      : (tensor<?x8xi16, #x>) -> tensor<?x6xi32, #y>
  return %0 : tensor<?x6xi32, #y>
}"""

    def check(self) -> None:
        scheme = checked_scheme(self.scheme)
        x = check_activations(self.x, scheme)
        y = tensor(self.y, "y", "N", "i32", encoded=True)
        same_tokens(x, y)
        same("bits of y", scheme.out_bits, y.bits)
        check_output_encoding("y", y.bits, y.exponent)
        integer(self.shift, "shift", 0, MAX_SHIFT)
        self._check_row_source(scheme)

    def _check_row_source(self, scheme: Scheme) -> None:
        searched = "codebook" in self.attributes
        if scheme.kind == "vq":
            expect(searched, "attribute 'codebook' (a symbol @name) for kind 'vq'", "none", "add it")
        else:
            expect(not searched, "no attribute 'codebook' for kind 'exact'", self.optional("codebook"), "remove it")
        source = self.optional("row_source")
        if source is None:
            return
        check_row_source(source.value, scheme.row_sources, scheme.kind)
        if source.value == "stored_table":
            stored = "tables" in self.attributes
            expect(stored, "attribute 'tables' (a symbol @name) for row_source 'stored_table'", "none", "add it")

    def parameters(self) -> list[Parameter]:
        scheme = checked_scheme(self.scheme)
        p = pairs(tensor(self.x, "x", "K", "i16", encoded=True).trailing[0])
        n = tensor(self.y, "y", "N", "i32", encoded=True).trailing[0]
        specs = {
            "codes": parameters.codes(scheme, p, n),
            "weight_codebook": parameters.weight_codebook(scheme, p, scheme.blocks(n)),
            "shifts": parameters.shifts(p),
            "multiplier": parameters.per_output(n),
            "bias": parameters.per_output(n),
            "codebook": parameters.codebook(scheme, p),
            "tables": parameters.tables(scheme, p, scheme.blocks(n)),
        }
        return [
            parameters.parameter(name, self.attributes[name], spec)
            for name, spec in specs.items()
            if name in self.attributes
        ]
