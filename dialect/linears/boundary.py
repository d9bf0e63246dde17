"""Where floats become integers and back: `lut.quantize`, `lut.dequantize`."""

from lutllm.bindings import ext, ir
from lutllm.dialect.base import LutOp, expect
from lutllm.dialect.linears import parameters
from lutllm.dialect.linears.parameters import Parameter
from lutllm.dialect.shapes import pairs, same, same_tokens, tensor


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
        x = tensor(self.x, "x", "K", "f32")
        result = tensor(self.result, "result", "K", "i16", encoded=True)
        same_tokens(x, result)
        same("K of result", x.trailing[0], result.trailing[0])
        pairs(x.trailing[0])
        expect(2 <= result.bits <= 16, "bits of result in 2..16", result.bits, "change the encoding")
        symbol = isinstance(result.exponent, str)
        expect(symbol, "exponents of result to be a symbol, one for each pair", result.exponent, "change the encoding")

    def parameters(self) -> list[Parameter]:
        result = tensor(self.result, "result", "K", "i16", encoded=True)
        spec = parameters.exponents(pairs(result.trailing[0]))
        return [Parameter("exponents", str(result.exponent), *spec)]


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
        y = tensor(self.y, "y", "N", "i32", encoded=True)
        result = tensor(self.result, "result", "N", "f32")
        same_tokens(y, result)
        same("N of result", y.trailing[0], result.trailing[0])
        check_output_encoding("y", y.bits, y.exponent)


def check_output_encoding(name: str, bits: int, exponent: int | str) -> None:
    """A linear's output has 2..32 bits and a single exponent."""
    expect(2 <= bits <= 32, f"bits of {name} in 2..32", bits, "change the encoding")
    expect(isinstance(exponent, int), f"one i64 exponent for {name}", f"@{exponent}", "change the encoding")
    # 32 bits at 2**96 are still finite in f32.
    expect(-96 <= int(exponent) <= 96, f"exponent of {name} in -96..96", exponent, "change the encoding")
