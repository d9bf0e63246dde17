"""How well a quantized linear does: its integers and float tokens in, relative output error out."""

import numpy as np

from lutllm import interpreter, numerics
from lutllm.quantizer.products import norm
from lutllm.quantizer.protocol import FloatLinear
from lutllm.scheme import QuantizedLinear


def integer_input(linear: QuantizedLinear, x: np.ndarray) -> np.ndarray:
    """Float tokens [T, K] as the int16 the linear reads."""
    return numerics.quantize(x, np.repeat(linear.exponents, 2), linear.scheme.x_bits).astype(np.int16)


def output_error(linear: QuantizedLinear, reference: FloatLinear, x: np.ndarray) -> float:
    """||y' - y|| / ||y|| over tokens [T, K]: y' from the golden model in integers, y from the float linear."""
    row_source = linear.scheme.row_sources[-1]
    got = numerics.dequantize(interpreter.linear(linear, integer_input(linear, x), row_source), linear.out_exponent)
    wanted = reference(x)
    return norm(got - wanted) / max(norm(wanted), 1e-300)
