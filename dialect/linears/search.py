"""`lut.centroid_search`: activations in, indices of their nearest centroids out."""

from lutllm.bindings import ext, ir
from lutllm.dialect.base import LutOp, expect
from lutllm.dialect.linears import parameters
from lutllm.dialect.linears.parameters import Parameter
from lutllm.dialect.linears.schemes import checked_scheme
from lutllm.dialect.shapes import same, typed
from lutllm.scheme import Scheme


class CentroidSearchOp(LutOp, name="centroid_search", traits=[ext.Pure]):
    """The nearest activation centroid of every pair, one index for each additive stage.

    Each stage searches what the stages before it left over. Ties go to the lower index. An index is unsigned.
    """

    x: ext.Operand[ir.RankedTensorType]
    scheme: ir.FlatSymbolRefAttr
    codebook: ir.FlatSymbolRefAttr
    indices: ext.Result[ir.RankedTensorType]

    TYPES = {"x": "tensor<...xKxi16, #lut.fixed<...>>", "indices": "tensor<...xPxSxi8/i16>"}  # noqa: RUF012

    DEFINITION = """
r[0] = (x[t, 2p], x[t, 2p + 1])
indices[t, p, s] = argmin_a distance(r[s], codebook[p, s, a])
r[s + 1] = r[s] - codebook[p, s, indices[t, p, s]]
chebyshev: distance(u, v) = max(|u0 - v0|, |u1 - v1|)
l2:        distance(u, v) = (u0 - v0)**2 + (u1 - v1)**2"""
    EXAMPLE = """
func.func @search(%x: tensor<?x8xi16, #x>) -> tensor<?x4x1xi8> {
  %0 = "lut.centroid_search"(%x) {scheme = @vq, codebook = @q.input.codebook}
      : (tensor<?x8xi16, #x>) -> tensor<?x4x1xi8>
  return %0 : tensor<?x4x1xi8>
}"""

    def check(self) -> None:
        scheme = checked_scheme(self)
        expect(scheme.kind == "vq", "a scheme of kind 'vq'", f"'{scheme.kind}'", "use lut.exact_row")
        types = typed(self, S=scheme.S)
        same("bits of x", scheme.x_bits, types.bits["x"])
        check_indices(self.indices, scheme)

    def parameters(self) -> list[Parameter]:
        p = typed(self).sizes["P"]
        return [parameters.parameter("codebook", self.codebook, parameters.codebook(checked_scheme(self), p))]


def check_indices(value: ir.Value, scheme: Scheme) -> None:
    same("element type of indices", parameters.index_element(scheme), str(value.type.element_type))
