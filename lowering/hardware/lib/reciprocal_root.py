"""1 / sqrt(A) as `lutllm.functions.rsqrt`: a table and one Newton step, pipelined, a new argument every cycle."""

from lutllm.functions import RSQRT
from lutllm.lowering.hardware.lib.arithmetic import bit_length
from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, const, delay, pack
from lutllm.lowering.hardware.lib.rom import rom

A_BITS = 63
R_BITS = 16  # 2**15 <= r < 2**16
H_BITS = 5
H_OFFSET = 15  # output `h` is h + 15, in 0..31
ROOT_LATENCY = 9  # cycles from `a` to `r` and `h`


def reciprocal_root(design: Design) -> str:
    """In: `a`, unsigned, at least 1. Out, `ROOT_LATENCY` cycles later: `r` and `h`, which holds h + H_OFFSET."""
    table = rom(design, "rsqrt_rom", RSQRT.tolist(), 16)

    def body(m: Module) -> dict[str, Signal]:
        a = m.reg(m["a"], "a_q")
        # h = (bit_length(a) - 31) >> 1, so h + 15 = (bit_length(a) - 1) >> 1: half the index of the highest one.
        h = m.reg((bit_length(a, 6) - 1)[1:6], "half_length")
        a = m.reg(a, "a_late")
        # m >> 16 in one shift: a * 2**-(2h + 16) is (a << 14) >> 2 * (h + 15); 2**14 <= it < 2**16.
        shifted = pack([const(0, 14), a]) >> pack([const(0, 1), h]).zext(14 + A_BITS)
        mantissa = m.reg(shifted[0:16], "mantissa")
        index = (mantissa[8:16] - 64).named("table_index")
        t = m.output_of(table, "table", address=index)  # 16 bits, as RSQRT[0] = 65281
        square = delay(m, t.zext(32) * t.zext(32), 1, "square")[15:32]
        late = delay(m, mantissa, 2, "mantissa_late")
        product = delay(m, late.zext(33) * square.zext(33), 2, "product")[16:33]  # d, about 2**15
        factor = const(3 << 15, 17) - product  # about 2**16, never negative
        t = delay(m, t, 3, "t_late")
        result = delay(m, t.zext(33) * factor.zext(33), 2, "result")[16:32]
        return dict(r=result, h=delay(m, h, ROOT_LATENCY - 2, "h_late"))

    return design.module("reciprocal_root", {"a": A_BITS}, {"r": R_BITS, "h": H_BITS}, body, reset=False)
