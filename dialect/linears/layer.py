"""`lut.linear`: one whole linear layer, before a pass splits it into search, rows, lookup, sum and requantizer."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lutllm.bindings import ext, ir
from lutllm.dialect.attributes import exponent_of
from lutllm.dialect.base import LutOp, expect, integer
from lutllm.dialect.linears import parameters
from lutllm.dialect.linears.lookup import check_row_source
from lutllm.dialect.linears.parameters import Parameter
from lutllm.dialect.linears.schemes import checked_scheme, scheme_of
from lutllm.dialect.shapes import same, typed
from lutllm.scheme import MAX_SHIFT, QuantizedLinear, Scheme


class LinearOp(LutOp, name="linear", traits=[ext.Pure]):
    """A linear layer by table lookup. `weights` begins the symbols of its arrays: `q` has `q.codes`,
    `q.weight_codebook`, `q.shifts`, `q.multiplier`, `q.bias`, and `q.tables` where `tables` stands, which only the row
    source 'stored_table' needs. `unbiased` promises that `q.bias` is 0 throughout.

    Kind 'vq' needs `codebook`, kind 'exact' has none. `row_source` may be left for the schedule to choose.
    """

    x: ext.Operand[ir.RankedTensorType]
    scheme: ir.FlatSymbolRefAttr
    weights: ir.FlatSymbolRefAttr
    shift: ir.IntegerAttr
    y: ext.Result[ir.RankedTensorType]

    TYPES = {"x": "tensor<...xKxi16, #lut.fixed<...>>", "y": "tensor<...xNxi32, #lut.fixed<...>>"}  # noqa: RUF012

    OPTIONAL = {  # noqa: RUF012
        "codebook": ir.FlatSymbolRefAttr,
        "tables": ir.UnitAttr,
        "row_source": ir.StringAttr,
        "unbiased": ir.UnitAttr,
    }
    DEFINITION = "y = requantize(prefix_sum(table_lookup(rows(centroid_search(x))))), or with rows(x) for kind 'exact'"
    EXAMPLE = """
func.func @linear(%x: tensor<?x8xi16, #x>) -> tensor<?x6xi32, #y> {
  %0 = "lut.linear"(%x) {scheme = @vq, weights = @q, shift = 20, codebook = @q.input.codebook, row_source = "built_row"}
      : (tensor<?x8xi16, #x>) -> tensor<?x6xi32, #y>
  return %0 : tensor<?x6xi32, #y>
}"""

    def check(self) -> None:
        scheme = checked_scheme(self)
        bits = typed(self).bits
        same("bits of x", scheme.x_bits, bits["x"])
        same("bits of y", scheme.out_bits, bits["y"])
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
            expect(stored, "attribute 'tables' for row_source 'stored_table'", "none", "add it")

    def parameters(self) -> list[Parameter]:
        scheme = checked_scheme(self)
        sizes = typed(self).sizes
        p, n = sizes["P"], sizes["N"]
        blocks = scheme.blocks(n)
        parts = {
            "codes": parameters.codes(scheme, p, n),
            "weight_codebook": parameters.weight_codebook(scheme, p, blocks),
            "shifts": parameters.shifts(p),
            "multiplier": parameters.per_output(n),
            "bias": parameters.per_output(n),
        }
        if "tables" in self.attributes:
            parts["tables"] = parameters.tables(scheme, p, blocks)
        found = [parameters.weight(self.weights, part, spec) for part, spec in parts.items()]
        if "codebook" in self.attributes:
            book = parameters.codebook(scheme, p)
            found.append(parameters.parameter("codebook", self.attributes["codebook"], book))
        return found


def linear_of(op: LinearOp, arrays: Mapping[str, np.ndarray]) -> QuantizedLinear:
    """The linear of an op, of its arrays by `Parameter.attribute`."""
    parts: dict[str, Any] = {
        part: arrays[part] for part in ("weight_codebook", "codes", "shifts", "multiplier", "bias")
    }
    return QuantizedLinear(
        name=op.weights.value,
        input_name="",
        scheme=scheme_of(op),
        exponents=arrays["x.exponents"],
        codebook=arrays.get("codebook"),
        tables=arrays.get("tables"),
        shift=int(op.shift.value),
        out_exponent=exponent_of(op.y),
        **parts,
    )
