"""Where floats become integers and back: `lut.quantize`, `lut.dequantize`."""

from lutllm.bindings import ext, ir
from lutllm.dialect.base import LutOp
from lutllm.dialect.shapes import typed


class QuantizeOp(LutOp, name="quantize", traits=[ext.Pure]):
    """Float to fixed point, with one exponent per pair of channels. Saturates."""

    x: ext.Operand[ir.RankedTensorType]
    result: ext.Result[ir.RankedTensorType]

    TYPES = {"x": "tensor<...xKxf32>", "result": "tensor<...xKxi16, #lut.fixed<...>>"}  # noqa: RUF012

    DEFINITION = "result[t, k] = clamp(floor(x[t, k] * 2**-(exponents of result)[k / 2] + 1/2), bits)"
    EXAMPLE = """
func.func @quantize(%x: tensor<?x8xf32>) -> tensor<?x8xi16, #x> {
  %0 = "lut.quantize"(%x) : (tensor<?x8xf32>) -> tensor<?x8xi16, #x>
  return %0 : tensor<?x8xi16, #x>
}"""

    def check(self) -> None:
        typed(self)


class DequantizeOp(LutOp, name="dequantize", traits=[ext.Pure]):
    """Fixed point to float: exact where the integer has at most 24 significant bits, else rounded by the conversion."""

    y: ext.Operand[ir.RankedTensorType]
    result: ext.Result[ir.RankedTensorType]

    TYPES = {"y": "tensor<...xNxi32, #lut.fixed<...>>", "result": "tensor<...xNxf32>"}  # noqa: RUF012

    DEFINITION = "result[t, o] = y[t, o] * 2**exponent"
    EXAMPLE = """
func.func @dequantize(%y: tensor<?x6xi32, #y>) -> tensor<?x6xf32> {
  %0 = "lut.dequantize"(%y) : (tensor<?x6xi32, #y>) -> tensor<?x6xf32>
  return %0 : tensor<?x6xf32>
}"""

    def check(self) -> None:
        typed(self)
