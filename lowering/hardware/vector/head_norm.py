"""The second pass of a head's norm, one channel: x, its row's root and its gain in, the normed channel out."""

from lutllm.lowering.hardware.lib.arithmetic import rounded_later, saturated
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.functions import H_BITS, H_OFFSET, R_BITS
from lutllm.lowering.hardware.lib.signal import Signal, const, mux, pack
from lutllm.lowering.machine.accelerator import VALUE_BITS, AcceleratorConfig
from lutllm.quantization import NORM_BITS
from lutllm.scheme import MAX_SHIFT

SHIFT_BITS = MAX_SHIFT.bit_length()
_Z_LEFT = H_OFFSET - 9  # z = rescale(x * r, -(9 + h)) = round_shift(x * r << _Z_LEFT, h + H_OFFSET)
_Z_BITS = 24  # |z| < 2**22 * (1 + 2**-14): no x is larger than the root of its row's squares


def value_bits(config: AcceleratorConfig) -> int:
    """Bits of a channel after the norm, or without one."""
    return max(NORM_BITS, config.y_bits)


def head_norm_lane(design: Design, config: AcceleratorConfig) -> str:
    """`value`: the normed channel of NORM_BITS where `normed`, else `x`."""
    product_bits, scaled_bits, bits = config.y_bits + R_BITS, _Z_BITS + VALUE_BITS, value_bits(config)

    def body(m: Module) -> dict[str, Signal]:
        # |x| <= 2**(y_bits - 1), r < 2**R_BITS; |z * gain| < 2**23 * 2**23.
        product = m.reg(m["x"].sext(product_bits) * m["r"].zext(product_bits), "product", cycles=2)
        z = rounded_later(m, pack([const(0, _Z_LEFT), product]), m["h"], "shifted")
        z = m.reg(z[0:_Z_BITS], "z")
        scaled = m.reg(z.sext(scaled_bits) * m["gain"].sext(scaled_bits), "scaled", cycles=2)
        normed = saturated(rounded_later(m, scaled, m["shift"], "scaled_shifted"), NORM_BITS).sext(bits)
        return dict(value=m.reg(mux(m["normed"], normed, m["x"].sext(bits)), "value_q"))

    inputs = {"x": config.y_bits, "r": R_BITS, "h": H_BITS, "gain": VALUE_BITS, "shift": SHIFT_BITS, "normed": 1}
    return design.pipeline("head_norm_lane", inputs, {"value": bits}, body, steady=("shift", "normed"))
