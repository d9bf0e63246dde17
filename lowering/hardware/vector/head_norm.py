"""The second pass of a head's norm, one channel: x, its row's root and its gain in, the normed channel out."""

from lutllm.lowering.hardware.lib.arithmetic import rounded_later, saturated
from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, const, delay, mux, pack
from lutllm.lowering.hardware.lib.reciprocal_root import H_BITS, H_OFFSET, R_BITS
from lutllm.lowering.machine.accelerator import VALUE_BITS, AcceleratorConfig
from lutllm.quantization import NORM_BITS
from lutllm.scheme import MAX_SHIFT

NORM_LATENCY = 8  # cycles from `x` and `r` to `value`
H_LATE, GAIN_LATE = 2, 4  # cycles after x that `h` and `gain` are wanted
SHIFT_BITS = MAX_SHIFT.bit_length()
_Z_LEFT = H_OFFSET - 9  # z = rescale(x * r, -(9 + h)) = round_shift(x * r << _Z_LEFT, h + H_OFFSET)
_Z_BITS = 24  # |z| < 2**22 * (1 + 2**-14): no x is larger than the root of its row's squares


def value_bits(config: AcceleratorConfig) -> int:
    """Bits of a channel after the norm, or without one."""
    return max(NORM_BITS, config.y_bits)


def head_norm_lane(design: Design, config: AcceleratorConfig) -> str:
    """`value`: the normed channel of NORM_BITS where `normed`, else `x`. `shift` and `normed` are steady."""
    product_bits, scaled_bits, bits = config.y_bits + R_BITS, _Z_BITS + VALUE_BITS, value_bits(config)

    def body(m: Module) -> dict[str, Signal]:
        # |x| <= 2**(y_bits - 1), r < 2**R_BITS; |z * gain| < 2**23 * 2**23.
        product = m["x"].sext(product_bits) * m["r"].zext(product_bits)
        product = delay(m, product, 2, "product")
        z = rounded_later(m, pack([const(0, _Z_LEFT), product]), m["h"], "shifted")
        z = m.reg(z[0:_Z_BITS], "z")
        scaled = delay(m, z.sext(scaled_bits) * m["gain"].sext(scaled_bits), 2, "scaled")
        normed = saturated(rounded_later(m, scaled, m["shift"], "scaled_shifted"), NORM_BITS).sext(bits)
        raw = delay(m, m["x"], NORM_LATENCY - 1, "raw").sext(bits)
        return dict(value=m.reg(mux(m["normed"], normed, raw), "value_q"))

    inputs = {"x": config.y_bits, "r": R_BITS, "h": H_BITS, "gain": VALUE_BITS, "shift": SHIFT_BITS, "normed": 1}
    return design.module("head_norm_lane", inputs, {"value": bits}, body, reset=False)
